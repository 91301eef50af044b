// Sets our headers, answers our body, limits nothing, and does not even look at the request.

import { answer } from './answer.js';

export default {
  fetch() {
    return answer(0);
  },
};
