/** From F22 on: clients, bodies, memory, neighbours and versions. */
import { describeShortForms } from './short-forms.ts';

describeShortForms((number) => number > 21);
