//! The log store against a real directory.
