import { practise, type RequestServer, type Session } from "@supermachine/fuse-server";
import { createPracticeBackend } from "@supermachine/posix-backend";

/**
 * Serves an empty directory for a moment, while this process still has a place for one, so that the first
 * client finds code that is compiled. It only costs speed where there is no such place.
 *
 * @param transport - As that of {@link practise}.
 */
export function practiseServing(transport?: (session: Session) => RequestServer): void {
  try {
    using backend = createPracticeBackend();
    practise(backend, {}, transport);
  } catch {
    // What is wrong with serving itself shows, with its reason, when it is asked for.
  }
}
