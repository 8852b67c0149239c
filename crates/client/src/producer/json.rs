//! Values as JSON.

use serde::Serialize;
use streamledger_client_core::serializer::{SerializeError, Serializer};

/// Writes any `serde` type as JSON, without spaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonSerializer;

impl<T: Serialize + ?Sized> Serializer<T> for JsonSerializer {
    fn serialize<'a>(
        &self,
        _topic: &str,
        value: &'a T,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, SerializeError> {
        serde_json::to_writer(&mut *buffer, value)
            .map_err(|error| SerializeError(Box::new(error)))?;
        Ok(Some(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Click<'a> {
        user: u32,
        page: Option<&'a str>,
    }

    #[test]
    fn a_struct_becomes_compact_json() {
        let mut buffer = Vec::new();
        let click = Click { user: 7, page: None };
        let bytes = JsonSerializer.serialize("clicks", &click, &mut buffer).unwrap();
        assert_eq!(bytes, Some(&br#"{"user":7,"page":null}"#[..]));
    }
}
