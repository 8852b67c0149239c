//! A range of versions as Kafka's schemas write it: `3+`, `2-5`, `4`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

/// The versions from `first` to `last`, or without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: Option<i16>,
}

impl Versions {
    pub(crate) const ALL: Self = Self { first: 0, last: None };

    pub(crate) fn parse(literal: &LitStr) -> syn::Result<Self> {
        let text = literal.value();
        let refused = || {
            let message =
                format!("{text:?} is no range of versions: write \"3+\", \"2-5\" or \"4\"");
            syn::Error::new(literal.span(), message)
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().map_err(|_| refused()) } else { Err(refused()) }
        };
        let versions = if let Some(first) = text.strip_suffix('+') {
            Self { first: number(first)?, last: None }
        } else if let Some((first, last)) = text.split_once('-') {
            Self { first: number(first)?, last: Some(number(last)?) }
        } else {
            let only = number(&text)?;
            Self { first: only, last: Some(only) }
        };
        if versions.last.is_some_and(|last| last < versions.first) {
            return Err(syn::Error::new(literal.span(), format!("{text:?} ends before it begins")));
        }
        Ok(versions)
    }

    /// An expression that is true in these versions; nothing when it would always be.
    pub(crate) fn condition(self) -> Option<TokenStream> {
        let Self { first, last } = self;
        match (first, last) {
            (0, None) => None,
            (first, None) => Some(quote!(version >= #first)),
            (0, Some(last)) => Some(quote!(version <= #last)),
            (first, Some(last)) if first == last => Some(quote!(version == #first)),
            (first, Some(last)) => Some(quote!((#first..=#last).contains(&version))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    fn parse(text: &str) -> syn::Result<Versions> {
        Versions::parse(&LitStr::new(text, Span::call_site()))
    }

    #[test]
    fn ranges_are_written_as_in_kafkas_schemas() {
        let range = |first, last| Versions { first, last };
        assert_eq!(parse("3+").unwrap(), range(3, None));
        assert_eq!(parse("2-5").unwrap(), range(2, Some(5)));
        assert_eq!(parse("4").unwrap(), range(4, Some(4)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "+", "3-", "-3", "a", "3++", "1-2-3", "99999", "+3"] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains("is no range of versions"), "{text}: {message}");
        }
        assert_eq!(parse("5-2").unwrap_err().to_string(), "\"5-2\" ends before it begins");
    }

    #[test]
    fn a_condition_is_as_short_as_it_can_be() {
        let condition = |text| parse(text).unwrap().condition().map(|tokens| tokens.to_string());
        assert_eq!(condition("0+"), None);
        assert_eq!(condition("3+").as_deref(), Some("version >= 3i16"));
        assert_eq!(condition("0-2").as_deref(), Some("version <= 2i16"));
        assert_eq!(condition("4").as_deref(), Some("version == 4i16"));
        let both = condition("2-5").unwrap();
        assert_eq!(both, "(2i16 ..= 5i16) . contains (& version)");
    }
}
