//! The cryptography under TLS and SASL: AWS-LC or ring, by this crate's features.

#[cfg(feature = "aws-lc-rs")]
pub(super) use aws_lc_rs::{digest, hmac, pbkdf2, rand};
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(super) use ring::{digest, hmac, pbkdf2, rand};

#[cfg(feature = "aws-lc-rs")]
pub(super) use rustls::crypto::aws_lc_rs::default_provider;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(super) use rustls::crypto::ring::default_provider;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("the crate `streamledger` needs its feature `ring` or `aws-lc-rs`");
