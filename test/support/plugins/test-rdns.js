// Names clients without DNS, which takes seconds a connection on a machine without DNS.
exports.hook_lookup_rdns = (next, connection) => {
  next(OK, `client-${connection.remote.ip.replace(/[.:]+/g, '-')}.test`)
}
