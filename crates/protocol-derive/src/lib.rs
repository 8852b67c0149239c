//! Derives the codec of a Kafka message from a plain struct with version attributes.
//!
//! What is written here runs in a message's encoder and decoder, so it is straight-line code: one
//! statement per field, in the order of the struct, each behind the versions that have the field.

mod generate;
mod model;
mod versions;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements the wire's traits, and `Default`, for a struct with named fields.
///
/// On the struct: `#[message(flexible = "9+")]`, or `"none"`, makes it a message of its own; a
/// struct without it is a part of messages and has the layout of the message it is in.
///
/// On a field, `#[field(...)]` with
/// - `versions = "3+"`, `"2-5"` or `"4"`: those that have the field; without it, all;
/// - `nullable = "1+"`: those in which an `Option` can be null; without it, all;
/// - `tagged = 0`: the field is a tagged field (KIP-482) with that tag;
/// - `default = "-1"`: the value, as a Rust expression, where the field is not on the wire; without
///   it, that of the type's `Default`;
/// - `ignorable`: a set field is left out silently in a version without it; otherwise, an error.
///
/// A field without the attribute is there in all versions.
#[proc_macro_derive(Message, attributes(message, field))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match model::MessageModel::parse(&input) {
        Ok(message) => generate::message(&message).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
