//! What a message is: a value that has a form on the wire in each version of its API.

use crate::wire::{DecodeError, EncodeError, Reader, Writer};
use crate::{ApiKey, ApiVersion, ErrorCode};

pub use streamledger_protocol_derive::Message;

/// A request or response body, without its header.
///
/// Written by `#[derive(Message)]` from a plain struct. The first two functions trust the caller
/// with the version; the functions of [`crate::frame`] check it against [`ApiKey::valid_versions`].
pub trait Message: Sized {
    /// Appends the message in the form it has in that version.
    ///
    /// # Errors
    /// A field holds what that version cannot carry.
    fn encode(&self, w: &mut Writer, version: ApiVersion) -> Result<(), EncodeError>;

    /// Reads a message in the form it has in that version.
    ///
    /// # Errors
    /// The bytes are not one.
    fn decode(r: &mut Reader, version: ApiVersion) -> Result<Self, DecodeError>;

    /// Shows each error code in the message: [`ErrorCode::None`] where nothing is wrong.
    fn visit_errors(&self, visit: &mut dyn FnMut(ErrorCode));
}

/// A message that asks.
pub trait Request: Message {
    /// The API it belongs to.
    const API_KEY: ApiKey;
    /// The message that answers it.
    type Response: Response;
}

/// A message that answers.
pub trait Response: Message {
    /// The API it belongs to.
    const API_KEY: ApiKey;
}
