//! The `streamledger` command.

fn main() {}
