//! What the attributes of a struct say, checked.

use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, GenericArgument, Ident, LitInt, LitStr};
use syn::{PathArguments, Type};

use crate::versions::Versions;

/// From which version on a message is flexible (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flexible {
    From(i16),
    Never,
}

/// A struct that is a message, or a part of messages.
pub(crate) struct MessageModel {
    pub(crate) name: Ident,
    /// Nothing for a part.
    pub(crate) flexible: Option<Flexible>,
    pub(crate) fields: Vec<FieldModel>,
}

/// One field and where it is on the wire.
pub(crate) struct FieldModel {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    /// The versions in which an `Option` can be null, when they are not all.
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<Expr>,
    pub(crate) ignorable: bool,
}

impl MessageModel {
    pub(crate) fn parse(input: &DeriveInput) -> syn::Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(syn::Error::new(input.ident.span(), "a message is a struct"));
        };
        if !input.generics.params.is_empty() {
            let message = "a message has no generic parameters";
            return Err(syn::Error::new(input.generics.span(), message));
        }
        let fields = match &data.fields {
            Fields::Named(fields) => {
                fields.named.iter().map(FieldModel::parse).collect::<syn::Result<Vec<_>>>()?
            }
            Fields::Unit => Vec::new(),
            Fields::Unnamed(_) => {
                return Err(syn::Error::new(input.ident.span(), "a message's fields have names"));
            }
        };
        check_tags(&fields)?;
        Ok(Self { name: input.ident.clone(), flexible: flexible(&input.attrs)?, fields })
    }
}

/// Two fields with one tag could not be told apart.
fn check_tags(fields: &[FieldModel]) -> syn::Result<()> {
    for (position, field) in fields.iter().enumerate() {
        let same = |other: &&FieldModel| other.tag.is_some() && other.tag == field.tag;
        if let Some(other) = fields[..position].iter().find(same) {
            let message = format!("`{}` has this tag already", other.name);
            return Err(syn::Error::new(field.name.span(), message));
        }
    }
    Ok(())
}

fn flexible(attributes: &[Attribute]) -> syn::Result<Option<Flexible>> {
    let mut flexible = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("message")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("flexible") {
                return Err(meta.error("expected `flexible = \"9+\"` or `flexible = \"none\"`"));
            }
            let literal: LitStr = meta.value()?.parse()?;
            flexible = Some(if literal.value() == "none" {
                Flexible::Never
            } else {
                match Versions::parse(&literal)? {
                    Versions { first, last: None } => Flexible::From(first),
                    Versions { .. } => {
                        let message = "a message stays flexible: write \"9+\" or \"none\"";
                        return Err(syn::Error::new(literal.span(), message));
                    }
                }
            });
            Ok(())
        })?;
        if flexible.is_none() {
            let message = "expected `flexible = \"9+\"` or `flexible = \"none\"`";
            return Err(syn::Error::new(attribute.span(), message));
        }
    }
    Ok(flexible)
}

impl FieldModel {
    fn parse(field: &syn::Field) -> syn::Result<Self> {
        let Some(name) = field.ident.clone() else {
            return Err(syn::Error::new(field.span(), "a message's fields have names"));
        };
        let mut model = Self {
            name,
            ty: field.ty.clone(),
            versions: Versions::ALL,
            nullable: None,
            tag: None,
            default: None,
            ignorable: false,
        };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("field")) {
            attribute.parse_nested_meta(|meta| model.apply(&meta))?;
        }
        Ok(model)
    }

    /// Takes over one `name = value` of the field's attribute.
    fn apply(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("versions") {
            self.versions = Versions::parse(&meta.value()?.parse()?)?;
        } else if meta.path.is_ident("nullable") {
            if self.optional().is_none() {
                return Err(meta.error("only an `Option` can be null"));
            }
            self.nullable = Some(Versions::parse(&meta.value()?.parse()?)?);
        } else if meta.path.is_ident("tagged") {
            self.tag = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
        } else if meta.path.is_ident("default") {
            self.default = Some(meta.value()?.parse::<LitStr>()?.parse()?);
        } else if meta.path.is_ident("ignorable") {
            self.ignorable = true;
        } else {
            return Err(
                meta.error("expected `versions`, `nullable`, `tagged`, `default` or `ignorable`")
            );
        }
        Ok(())
    }

    /// The type inside, if the field is an `Option`.
    pub(crate) fn optional(&self) -> Option<&Type> {
        let Type::Path(path) = &self.ty else { return None };
        let last = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        match arguments.args.first()? {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> String {
        match MessageModel::parse(&syn::parse_str(source).unwrap()) {
            Ok(_) => panic!("{source} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn attributes_are_read_into_the_model() {
        let source = r#"
            #[message(flexible = "9+")]
            struct ProduceRequest {
                #[field(versions = "3+", nullable = "3-8")] transactional_id: Option<String>,
                acks: i16,
                #[field(tagged = 2, versions = "12+", default = "-1", ignorable)] leader: i32,
            }
        "#;
        let model = MessageModel::parse(&syn::parse_str(source).unwrap()).unwrap();
        assert_eq!(model.flexible, Some(Flexible::From(9)));
        let [transactional_id, acks, leader] = &model.fields[..] else { panic!("three fields") };
        assert_eq!(transactional_id.versions, Versions { first: 3, last: None });
        assert_eq!(transactional_id.nullable, Some(Versions { first: 3, last: Some(8) }));
        assert!(transactional_id.optional().is_some() && acks.optional().is_none());
        assert_eq!((acks.versions, acks.tag), (Versions::ALL, None));
        assert_eq!((leader.tag, leader.ignorable), (Some(2), true));
        assert!(leader.default.is_some());
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        for (source, reason) in [
            ("enum E { A }", "a message is a struct"),
            ("struct S(i32);", "a message's fields have names"),
            ("struct S<T> { a: T }", "a message has no generic parameters"),
            ("#[message(flexible = \"2-3\")] struct S;", "a message stays flexible"),
            ("#[message(flexible = \"x\")] struct S;", "is no range of versions"),
            ("#[message(version = 3)] struct S;", "expected `flexible"),
            ("#[message()] struct S;", "expected `flexible"),
            ("struct S { #[field(version = \"3\")] a: i32 }", "expected `versions`"),
            ("struct S { #[field(versions = \"3?\")] a: i32 }", "is no range of versions"),
            ("struct S { #[field(nullable = \"3+\")] a: i32 }", "only an `Option` can be null"),
            ("struct S { #[field(tagged = \"0\")] a: i32 }", "expected integer literal"),
            ("struct S { #[field(default = \"1 +\")] a: i32 }", "unexpected end of input"),
            (
                "struct S { #[field(tagged = 0)] a: i32, #[field(tagged = 0)] b: i32 }",
                "`a` has this tag already",
            ),
        ] {
            let message = refused(source);
            assert!(message.contains(reason), "{source}: {message}");
        }
    }
}
