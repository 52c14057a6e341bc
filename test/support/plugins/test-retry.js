// Retries failed deliveries after one second, as many times as Haraka's settings say.
exports.hook_deferred = (next) => next(DENYSOFT, '1')
