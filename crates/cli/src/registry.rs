//! The schema registry of a command: which schema values are written by, under which subject, and
//! its id, which is asked for once, before a row is sent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use streamledger::Properties;
use streamledger::schema_registry::{
    RegisteredSchema, RegistryError, RegistryErrorKind, SchemaId, SchemaRegistry, SchemaType,
};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::input::columns::ValueForm;
use crate::input::value_schema::{GivenSchema, SchemaLanguage, ValueSchema};
use crate::input::{InputOptions, InputPlan};
use crate::producing::config_failure;

/// `user:password` for the registry.
const USER_INFO_VARIABLE: &str = "STREAMLEDGER_SCHEMA_REGISTRY_USER_INFO";
/// A token for it.
const TOKEN_VARIABLE: &str = "STREAMLEDGER_SCHEMA_REGISTRY_TOKEN";

/// Where a registry is, and how it lets us in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Schema registry")]
pub struct RegistryAddress {
    /// A schema registry (Confluent, Karapace, Apicurio, Redpanda): each value has its schema's id
    /// in front; several addresses of one with commas. STREAMLEDGER_SCHEMA_REGISTRY_USER_INFO
    /// (user:password) or STREAMLEDGER_SCHEMA_REGISTRY_TOKEN in the environment log in
    #[arg(long = "schema-registry", value_name = "URL,..")]
    pub urls: Option<String>,

    /// A properties file with its settings: basic.auth.user.info, bearer.auth.token,
    /// schema.registry.ssl.truststore.location, as Confluent's clients take them
    #[arg(long = "schema-registry-config", value_name = "FILE", requires = "urls")]
    pub config: Option<PathBuf>,
}

/// Which schema of it values are written by.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Schema registry")]
pub struct RegistryArguments {
    #[command(flatten)]
    address: RegistryAddress,

    /// The subject that the schema is registered under
    #[arg(long, value_enum, default_value_t = SubjectName::Topic, value_name = "HOW")]
    subject_name: SubjectName,

    /// Register nothing: write by the schema that has this number
    #[arg(
        long,
        value_name = "N",
        requires = "urls",
        conflicts_with_all = ["use_latest", "avro_schema"]
    )]
    schema_id: Option<u32>,

    /// Register nothing: write by the newest schema of the subject
    #[arg(long, requires = "urls", conflicts_with = "avro_schema")]
    use_latest: bool,
}

/// What a subject is called after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SubjectName {
    /// TOPIC-value
    Topic,
    /// The record's whole name
    Record,
    /// TOPIC-, and the record's whole name
    TopicRecord,
}

impl SubjectName {
    /// The subject of a record's schema.
    fn subject(self, topic: &str, record: &str) -> String {
        match self {
            SubjectName::Topic => format!("{topic}-value"),
            SubjectName::Record => record.to_owned(),
            SubjectName::TopicRecord => format!("{topic}-{record}"),
        }
    }
}

/// Whether a schema that isn't there may be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registering {
    /// It is.
    Wanted,
    /// It is looked for only.
    No,
}

impl RegistryAddress {
    /// The registry, if one is named. Nothing is asked of it yet.
    ///
    /// # Errors
    /// Its address or a setting can't be used.
    pub fn registry(&self) -> Outcome<Option<SchemaRegistry>> {
        let Some(urls) = &self.urls else { return Ok(None) };
        let mut properties = Properties::new();
        for (variable, name) in
            [(USER_INFO_VARIABLE, "basic.auth.user.info"), (TOKEN_VARIABLE, "bearer.auth.token")]
        {
            if let Ok(secret) = std::env::var(variable) {
                properties = properties.with(name, secret);
            }
        }
        let properties = properties.and(given(self.config.as_deref(), &[])?);
        let properties = properties.with("schema.registry.url", urls);
        let registry = SchemaRegistry::from_properties(&properties);
        Ok(Some(registry.map_err(|error| config_failure(&error))?))
    }
}

impl RegistryArguments {
    /// The subject of a schema, for who only wants to be told.
    pub fn subject(&self, topic: &str, schema: &ValueSchema) -> Option<String> {
        self.address.urls.as_ref()?;
        Some(self.subject_name.subject(topic, &schema.name))
    }

    /// Says in the options what the registry decides: that values have a schema, and, where a
    /// registered one is to be used, which, asking for it.
    ///
    /// # Errors
    /// The registry has none such, or doesn't answer; or values can't have a schema.
    pub fn complete(&self, topic: &str, options: &mut InputOptions) -> Outcome<()> {
        self.begin(topic, options)?;
        options.registry_is_silent.take().map_or(Ok(()), Err)
    }

    /// The same for who may have nothing to write: that the registry doesn't answer is kept in the
    /// options.
    ///
    /// # Errors
    /// As [`Self::complete`], but for that.
    pub fn begin(&self, topic: &str, options: &mut InputOptions) -> Outcome<()> {
        let Some(registry) = self.address.registry()? else { return Ok(()) };
        let wanted = match options.value {
            Some(ValueForm::Avro) => SchemaType::Avro,
            Some(ValueForm::Json) => SchemaType::Json,
            Some(ValueForm::Raw) | None => {
                return Failure::new(Exit::Usage, "values have no schema to be registered")
                    .cause("--schema-registry is for values that are Avro or JSON")
                    .remedy("say --value avro or --value json")
                    .err();
            }
        };
        options.has_registry = true;
        let (found, what) = match (self.schema_id, self.use_latest) {
            (Some(id), _) => (registry.by_id(SchemaId(id)), format!("there is no schema {id}")),
            (None, true) => {
                let subject = self.subject_name.subject(topic, &options.record_name);
                (registry.latest(&subject), format!("there is no newest schema of {subject}"))
            }
            (None, false) => return Ok(()),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == RegistryErrorKind::Unreachable => {
                options.registry_is_silent = Some(failure(&what, &error).into());
                options.schema_id = self.schema_id;
                return Ok(());
            }
            Err(error) => return Err(failure(&what, &error).into()),
        };
        let RegisteredSchema { id, schema_type, text } = found;
        if schema_type != wanted {
            let what = format!("schema {id} of the registry isn't of --value's kind");
            return Failure::new(Exit::Usage, what)
                .cause(format!("it is {}, not {}", schema_type.name(), wanted.name()))
                .remedy("choose another with --schema-id, or another --value")
                .err();
        }
        if wanted == SchemaType::Avro {
            options.schema = Some(GivenSchema::of_text(&text, format!("schema {id}"))?);
        }
        options.schema_id = Some(id.0);
        Ok(())
    }

    /// Gives each file that is meant the id of the schema that its values are written by; each
    /// different schema is asked for once.
    ///
    /// # Errors
    /// The registry refuses it, doesn't have it, or doesn't answer.
    pub fn assign_ids(
        &self,
        topic: &str,
        plan: &mut InputPlan,
        registering: Registering,
        is_meant: impl Fn(usize) -> bool,
    ) -> Outcome<()> {
        let Some(registry) = self.address.registry()? else { return Ok(()) };
        let mut known: BTreeMap<(String, String), u32> = BTreeMap::new();
        for index in (0..plan.files.len()).filter(|index| is_meant(*index)) {
            let id = match (plan.fixed_schema_id(), plan.registered_schema(&plan.files[index])?) {
                (Some(id), _) => id,
                (None, None) => continue,
                (None, Some(schema)) => {
                    let subject = self.subject_name.subject(topic, &schema.name);
                    let key = (subject, schema.text.clone());
                    match known.get(&key) {
                        Some(id) => *id,
                        None => {
                            let id = id_of(&registry, &key.0, &schema, registering)?;
                            known.insert(key, id);
                            id
                        }
                    }
                }
            };
            plan.files[index].schema_id = Some(id);
        }
        Ok(())
    }
}

fn id_of(
    registry: &SchemaRegistry,
    subject: &str,
    schema: &ValueSchema,
    registering: Registering,
) -> Outcome<u32> {
    let language = match schema.language {
        SchemaLanguage::Avro => SchemaType::Avro,
        SchemaLanguage::Json => SchemaType::Json,
    };
    let (id, what) = match registering {
        Registering::Wanted => (
            registry.register(subject, &language, &schema.text),
            format!("the schema isn't registered under {subject}"),
        ),
        Registering::No => (
            registry.look_up(subject, &language, &schema.text),
            format!("the schema isn't known under {subject}"),
        ),
    };
    Ok(id.map_err(|error| failure(&what, &error))?.0)
}

/// That a registry doesn't do what it is asked, in its own words.
pub fn failure(what: &str, error: &RegistryError) -> Failure {
    use RegistryErrorKind as Kind;
    let (exit, remedy) = match error.kind() {
        Kind::Unreachable => (
            Exit::Unreachable,
            "see whether it runs, and whether --schema-registry names it as it listens",
        ),
        Kind::Unauthorized => (
            Exit::Failed,
            "log in: STREAMLEDGER_SCHEMA_REGISTRY_USER_INFO or _TOKEN in the environment, or\n\
             basic.auth.user.info or bearer.auth.token in --schema-registry-config; or have the\n\
             registry's keeper allow it",
        ),
        Kind::Incompatible => (
            Exit::Failed,
            "make the schema compatible: --rename, --select and --type change what it is made of,\n\
             --avro-schema gives another; --use-latest writes by the one that is there; or set\n\
             the subject's compatibility otherwise",
        ),
        Kind::Invalid => {
            (Exit::Failed, "see the schema with --dry-run; --avro-schema gives another")
        }
        Kind::NotFound => (
            Exit::Failed,
            "see what the registry has: GET /subjects; `ingest` without --use-latest and\n\
             --schema-id registers the schema",
        ),
        Kind::NotARegistry => (Exit::Failed, "--schema-registry is the address of its REST API"),
        _ => (Exit::Failed, "see what the registry logs"),
    };
    Failure::new(exit, what).because(error).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_called_after_topic_record_or_both() {
        for (how, subject) in [
            (SubjectName::Topic, "t-value"),
            (SubjectName::Record, "a.r"),
            (SubjectName::TopicRecord, "t-a.r"),
        ] {
            assert_eq!(how.subject("t", "a.r"), subject);
        }
    }
}
