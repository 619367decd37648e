import type { LoadDisplay } from '../server.js';
import { type ProgressDisplay, progressDisplay } from './progress.js';

/** Shows the fetches of a server's models as the other verbs show theirs: by a bar, while they last. */
export function loadDisplay(open: () => ProgressDisplay = progressDisplay): LoadDisplay {
  let display: ProgressDisplay | undefined;
  const end = () => {
    display?.end();
    display = undefined;
  };
  return {
    stateChanged: end,
    loadProgress(model, { step, receivedBytes, totalBytes }) {
      if (step !== 'fetching') end();
      else if (receivedBytes !== undefined) {
        display ??= open();
        display.update({ file: model, receivedBytes, totalBytes });
      }
    },
  };
}
