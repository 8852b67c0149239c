//! The code of a message's encoder and decoder.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{FieldModel, Flexible, MessageModel};

/// All implementations for one struct.
pub(crate) fn message(message: &MessageModel) -> TokenStream {
    let default = implement_default(message);
    let wire_value = implement_wire_value(message);
    let nullable = implement_nullable(message);
    let message = message.flexible.map(|flexible| implement_message(message, flexible));
    quote! {
        #default
        #wire_value
        #nullable
        #message
    }
}

fn implement_default(message: &MessageModel) -> TokenStream {
    let name = &message.name;
    let fields = message.fields.iter().map(|field| {
        let (name, default) = (&field.name, field.default_value());
        quote!(#name: #default)
    });
    quote! {
        #[automatically_derived]
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#fields),* }
            }
        }
    }
}

fn implement_message(message: &MessageModel, flexible: Flexible) -> TokenStream {
    let name = &message.name;
    let flexible = match flexible {
        Flexible::From(first) => quote!(version.0 >= #first),
        Flexible::Never => quote!(false),
    };
    quote! {
        #[automatically_derived]
        impl ::streamledger_protocol::message::Message for #name {
            fn encode(
                &self,
                w: &mut ::streamledger_protocol::wire::Writer,
                version: ::streamledger_protocol::ApiVersion,
            ) -> ::core::result::Result<(), ::streamledger_protocol::wire::EncodeError> {
                let layout =
                    ::streamledger_protocol::wire::Layout { version, flexible: #flexible };
                ::streamledger_protocol::wire::WireValue::write(self, w, layout)
            }

            fn decode(
                r: &mut ::streamledger_protocol::wire::Reader,
                version: ::streamledger_protocol::ApiVersion,
            ) -> ::core::result::Result<Self, ::streamledger_protocol::wire::DecodeError> {
                let layout =
                    ::streamledger_protocol::wire::Layout { version, flexible: #flexible };
                ::streamledger_protocol::wire::WireValue::read(r, layout)
            }

            fn visit_errors(
                &self,
                visit: &mut dyn ::core::ops::FnMut(::streamledger_protocol::ErrorCode),
            ) {
                ::streamledger_protocol::wire::WireValue::visit_errors(self, visit);
            }
        }
    }
}

fn implement_nullable(message: &MessageModel) -> TokenStream {
    let name = &message.name;
    quote! {
        #[automatically_derived]
        impl ::streamledger_protocol::wire::Nullable for #name {
            fn nullable_bytes_min(_: ::streamledger_protocol::wire::Layout) -> usize {
                1
            }

            fn write_null(
                w: &mut ::streamledger_protocol::wire::Writer,
                _: ::streamledger_protocol::wire::Layout,
            ) {
                w.put_null_marker(false);
            }

            fn write_not_null(
                &self,
                w: &mut ::streamledger_protocol::wire::Writer,
                layout: ::streamledger_protocol::wire::Layout,
            ) -> ::core::result::Result<(), ::streamledger_protocol::wire::EncodeError> {
                w.put_null_marker(true);
                ::streamledger_protocol::wire::WireValue::write(self, w, layout)
            }

            fn read_nullable(
                r: &mut ::streamledger_protocol::wire::Reader,
                layout: ::streamledger_protocol::wire::Layout,
            ) -> ::core::result::Result<
                ::core::option::Option<Self>,
                ::streamledger_protocol::wire::DecodeError,
            > {
                if r.null_marker()? {
                    ::streamledger_protocol::wire::WireValue::read(r, layout).map(Some)
                } else {
                    ::core::result::Result::Ok(::core::option::Option::None)
                }
            }
        }
    }
}

fn implement_wire_value(message: &MessageModel) -> TokenStream {
    let name = &message.name;
    let bytes_min = bytes_min(message);
    let write = write(message);
    let read = read(message);
    let fields = message.fields.iter().map(|field| &field.name);
    quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        impl ::streamledger_protocol::wire::WireValue for #name {
            fn bytes_min(layout: ::streamledger_protocol::wire::Layout) -> usize {
                #bytes_min
            }

            fn write(
                &self,
                w: &mut ::streamledger_protocol::wire::Writer,
                layout: ::streamledger_protocol::wire::Layout,
            ) -> ::core::result::Result<(), ::streamledger_protocol::wire::EncodeError> {
                #write
            }

            fn read(
                r: &mut ::streamledger_protocol::wire::Reader,
                layout: ::streamledger_protocol::wire::Layout,
            ) -> ::core::result::Result<Self, ::streamledger_protocol::wire::DecodeError> {
                #read
            }

            fn visit_errors(
                &self,
                visit: &mut dyn ::core::ops::FnMut(::streamledger_protocol::ErrorCode),
            ) {
                #(::streamledger_protocol::wire::WireValue::visit_errors(&self.#fields, visit);)*
            }
        }
    }
}

/// The sum of the least each field takes; tagged fields can all be absent.
fn bytes_min(message: &MessageModel) -> TokenStream {
    let fields = message.fields.iter().filter(|field| field.tag.is_none()).map(|field| {
        let ty = &field.ty;
        let add = quote! {
            bytes += <#ty as ::streamledger_protocol::wire::WireValue>::bytes_min(layout);
        };
        match field.versions.condition() {
            None => add,
            Some(condition) => quote!(if #condition { #add }),
        }
    });
    quote! {
        let version = layout.version.0;
        let mut bytes = usize::from(layout.flexible);
        #(#fields)*
        bytes
    }
}

fn write(message: &MessageModel) -> TokenStream {
    let plain = message.fields.iter().filter(|field| field.tag.is_none());
    let plain = plain.map(|field| write_plain(message, field));
    let tagged = write_tagged(message);
    quote! {
        let version = layout.version.0;
        #(#plain)*
        #tagged
        ::core::result::Result::Ok(())
    }
}

fn write_plain(message: &MessageModel, field: &FieldModel) -> TokenStream {
    let write = field.write(message);
    let Some(condition) = field.versions.condition() else { return write };
    if field.ignorable {
        return quote!(if #condition { #write });
    }
    let is_set = field.is_set();
    let refuse = field.refuse(message, &quote!(FieldNotInVersion));
    quote! {
        if #condition { #write } else if #is_set { #refuse }
    }
}

/// Counts the tagged fields that are set, then writes them in the order of their tags.
fn write_tagged(message: &MessageModel) -> TokenStream {
    let tagged = message.tagged();
    let is_there = tagged.iter().map(|field| {
        let (is_there, is_set) = (field.is_there(), field.is_set());
        match (field.versions.condition(), field.ignorable) {
            (None, _) => quote!(let #is_there = #is_set;),
            (Some(condition), true) => quote!(let #is_there = (#condition) && #is_set;),
            (Some(condition), false) => {
                let refuse = field.refuse(message, &quote!(FieldNotInVersion));
                quote! {
                    let #is_there = #is_set;
                    if #is_there && !(#condition) { #refuse }
                }
            }
        }
    });
    let counts = tagged.iter().map(|field| {
        let is_there = field.is_there();
        quote!(+ u32::from(#is_there))
    });
    let writes = tagged.iter().map(|field| {
        let (is_there, tag, write) = (field.is_there(), field.tag, field.write(message));
        quote! {
            if #is_there {
                w.put_tagged(#tag, |w| {
                    #write
                    ::core::result::Result::Ok(())
                })?;
            }
        }
    });
    quote! {
        #(#is_there)*
        if layout.flexible {
            w.put_unsigned_varint(0 #(#counts)*);
            #(#writes)*
        }
    }
}

fn read(message: &MessageModel) -> TokenStream {
    let plain = message.fields.iter().filter(|field| field.tag.is_none());
    let plain = plain.map(|field| {
        let (name, ty, read) = (&field.name, &field.ty, field.read(message));
        match field.versions.condition() {
            None => quote!(let #name: #ty = #read;),
            Some(condition) => {
                let default = field.default_value();
                quote!(let #name: #ty = if #condition { #read } else { #default };)
            }
        }
    });
    let tagged = read_tagged(message);
    let names = message.fields.iter().map(|field| &field.name);
    quote! {
        let version = layout.version.0;
        #(#plain)*
        #tagged
        ::core::result::Result::Ok(Self { #(#names),* })
    }
}

fn read_tagged(message: &MessageModel) -> TokenStream {
    let tagged = message.tagged();
    if tagged.is_empty() {
        return quote! {
            if layout.flexible { r.skip_tagged_fields()?; }
        };
    }
    let defaults = tagged.iter().map(|field| {
        let (name, ty, default) = (&field.name, &field.ty, field.default_value());
        quote!(let mut #name: #ty = #default;)
    });
    let arms = tagged.iter().map(|field| {
        let (name, tag, read) = (&field.name, field.tag, field.read(message));
        let guard = field.versions.condition().map(|condition| quote!(if #condition));
        quote!(#tag #guard => #name = #read,)
    });
    quote! {
        #(#defaults)*
        if layout.flexible {
            r.tagged_fields(|tag, r| {
                match tag {
                    #(#arms)*
                    _ => return ::core::result::Result::Ok(false),
                }
                ::core::result::Result::Ok(true)
            })?;
        }
    }
}

impl MessageModel {
    /// The tagged fields in the order of their tags.
    fn tagged(&self) -> Vec<&FieldModel> {
        let mut tagged: Vec<_> = self.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        tagged
    }
}

impl FieldModel {
    fn default_value(&self) -> TokenStream {
        let ty = &self.ty;
        match &self.default {
            Some(default) => quote!(#default),
            None => quote!(<#ty as ::core::default::Default>::default()),
        }
    }

    /// An expression that is true when the field has another value than its default.
    fn is_set(&self) -> TokenStream {
        let (name, ty, default) = (&self.name, &self.ty, self.default_value());
        match &self.default {
            Some(_) => quote!({ let default: #ty = #default; self.#name != default }),
            None => quote!((self.#name != #default)),
        }
    }

    /// The variable that says whether a tagged field is written.
    fn is_there(&self) -> syn::Ident {
        quote::format_ident!("is_{}_there", self.name)
    }

    /// `.map_err` that adds the place to an error.
    fn place(&self, message: &MessageModel) -> TokenStream {
        let (message, field) = (message.name.to_string(), self.name.to_string());
        quote!(.map_err(|error| error.in_field(#message, #field))?)
    }

    /// A statement that ends the encoding with that kind of error.
    fn refuse(&self, message: &MessageModel, kind: &TokenStream) -> TokenStream {
        let (message, field) = (message.name.to_string(), self.name.to_string());
        quote! {
            return ::core::result::Result::Err(
                ::streamledger_protocol::wire::EncodeError::new(
                    ::streamledger_protocol::wire::EncodeErrorKind::#kind(layout.version),
                )
                .in_field(#message, #field),
            );
        }
    }

    /// A statement that writes the field.
    fn write(&self, message: &MessageModel) -> TokenStream {
        let (name, place) = (&self.name, self.place(message));
        let wire_value = quote!(::streamledger_protocol::wire::WireValue);
        let write = quote!(#wire_value::write(&self.#name, w, layout)#place;);
        let Some(condition) = self.nullable_condition() else { return write };
        let refuse = self.refuse(message, &quote!(NullNotInVersion));
        quote! {
            if #condition {
                #write
            } else if let ::core::option::Option::Some(value) = &self.#name {
                #wire_value::write(value, w, layout)#place;
            } else {
                #refuse
            }
        }
    }

    /// An expression that reads the field.
    fn read(&self, message: &MessageModel) -> TokenStream {
        let (ty, place) = (&self.ty, self.place(message));
        let wire_value = quote!(::streamledger_protocol::wire::WireValue);
        let read = quote!(<#ty as #wire_value>::read(r, layout)#place);
        match (self.nullable_condition(), self.optional()) {
            (Some(condition), Some(inner)) => quote! {
                if #condition {
                    #read
                } else {
                    ::core::option::Option::Some(<#inner as #wire_value>::read(r, layout)#place)
                }
            },
            _ => read,
        }
    }

    /// When the field can be null, if that depends on the version.
    fn nullable_condition(&self) -> Option<TokenStream> {
        let nullable = self.nullable?;
        // Compared over the versions that have the field at all.
        let always = nullable.first <= self.versions.first
            && match (nullable.last, self.versions.last) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(nullable), Some(last)) => nullable >= last,
            };
        if always { None } else { nullable.condition() }
    }
}
