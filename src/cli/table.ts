/** A column: its heading, and the side on which its cells begin. */
export interface Column {
  readonly heading: string;
  readonly align: 'left' | 'right';
}

/** Rows of cells below headings, two spaces between the columns, a line each. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ heading }) => heading), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((cells) => cells[at]?.length ?? 0)));
  return lines
    .map((cells) => {
      const padded = columns.map(({ align }, at) => {
        const [cell = '', width = 0] = [cells[at], widths[at]];
        return align === 'left' ? cell.padEnd(width) : cell.padStart(width);
      });
      return `${padded.join('  ').trimEnd()}\n`;
    })
    .join('');
}
