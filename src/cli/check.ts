/** One thing that is looked at. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly seen: string;
  /** What to do, where it is not ok. */
  readonly advice?: string;
}
