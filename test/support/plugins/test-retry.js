// Deliveries that failed are tried again after a second, as often as Haraka's settings say.
exports.hook_deferred = (next) => next(DENYSOFT, '1')
