//! Every setting of Kafka's clients, declared once: its row, its typed field and its builder call.

mod admin;
mod client;
mod consumer;
mod observing;
mod producer;
mod security;

pub use admin::AdminSettings;
pub use client::ClientSettings;
pub use consumer::ConsumerSettings;
pub use producer::ProducerSettings;
pub use security::SecuritySettings;

use super::spec::SettingSpec;

/// Declares a group of settings: a struct with a typed field each, its rows of the table, and the
/// calls of the typed builder.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        struct $group:ident;
        setters [$($generic:ident)?] $builder:ty;
        $(
            $field:ident: $type:ty, set by $argument:ty,
            $name:literal, $clients:expr, $kind:expr, default $default:tt, $importance:ident;
            does $does:literal;
            why $why:literal;
        )*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $group {
            $(
                #[doc = concat!("`", $name, "`: ", $does)]
                #[doc = ""]
                #[doc = concat!("Default ", stringify!($default), ": ", $why)]
                pub $field: $type,
            )*
        }

        impl $group {
            /// The rows of the table.
            pub(crate) const SPECS: &[$crate::config::spec::SettingSpec] = &[
                $($crate::config::spec::SettingSpec {
                    name: $name,
                    clients: $clients,
                    kind: $kind,
                    default: $crate::config::settings::settings!(@default $default),
                    importance: $crate::config::spec::Importance::$importance,
                    does: $does,
                    why: $why,
                    support: $crate::config::spec::Support::Yes,
                },)*
            ];

            /// Reads each setting's text into its field.
            pub(crate) fn read(
                values: &$crate::config::resolve::Resolved,
            ) -> Result<Self, $crate::config::ConfigError> {
                let mut specs = Self::SPECS.iter();
                Ok(Self {
                    $($field: values.read::<$type>(specs.next(), $name)?,)*
                })
            }
        }

        impl<$($generic)?> $builder {
            $(
                #[doc = concat!("`", $name, "`: ", $does)]
                #[doc = ""]
                #[doc = concat!("Default ", stringify!($default), ": ", $why)]
                #[must_use]
                pub fn $field(self, value: $argument) -> Self {
                    self.set_typed($name, $crate::config::value::SettingArgument::into_text(value))
                }
            )*
        }
    };
    (@default required) => { $crate::config::spec::DefaultValue::Required };
    (@default nothing) => { $crate::config::spec::DefaultValue::Nothing };
    (@default $text:literal) => { $crate::config::spec::DefaultValue::Value($text) };
    (@default ($producer:literal, $consumer:literal, $admin:literal)) => {
        $crate::config::spec::DefaultValue::PerClient {
            producer: $producer, consumer: $consumer, admin: $admin,
        }
    };
}
use settings;

/// Declares rows of the table that have no field, as they have no effect here.
macro_rules! settings_without_effect {
    (
        $(#[$doc:meta])*
        const $rows:ident;
        $(
            $name:literal, $clients:expr, $kind:expr, default $default:tt, $importance:ident;
            does $does:literal;
            why $why:literal;
            support $support:expr;
        )*
    ) => {
        $(#[$doc])*
        pub(crate) const $rows: &[$crate::config::spec::SettingSpec] = &[
            $($crate::config::spec::SettingSpec {
                name: $name,
                clients: $clients,
                kind: $kind,
                default: $crate::config::settings::settings!(@default $default),
                importance: $crate::config::spec::Importance::$importance,
                does: $does,
                why: $why,
                support: $support,
            },)*
        ];
    };
}
use settings_without_effect;

/// All rows, in the order of the documentation: what we have first.
pub(crate) fn table() -> impl Iterator<Item = &'static SettingSpec> + Clone {
    [
        ClientSettings::SPECS,
        SecuritySettings::SPECS,
        ProducerSettings::SPECS,
        ConsumerSettings::SPECS,
        producer::WITHOUT_EFFECT,
        consumer::WITHOUT_EFFECT,
        admin::WITHOUT_EFFECT,
        observing::SPECS,
        security::WITHOUT_EFFECT,
    ]
    .into_iter()
    .flatten()
}
