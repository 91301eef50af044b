// Reads the key, as whoever answers this request for real must; sets our headers, answers our body, limits nothing.

import { answer } from './answer.js';

export default {
  fetch(request) {
    if (!request.headers.get('authorization')) return new Response(null, { status: 401 });
    return answer(0);
  },
};
