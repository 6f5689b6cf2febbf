/** F1 to F21: processes, connections, disks and clocks that fail. */
import { describeShortForms } from './short-forms.ts';

describeShortForms((number) => number <= 21);
