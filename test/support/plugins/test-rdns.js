// Names clients without asking DNS, which takes seconds per connection where there is none.
exports.hook_lookup_rdns = (next, connection) => {
  next(OK, `client-${connection.remote.ip.replace(/[.:]+/g, '-')}.test`)
}
