//! What was set and has no effect is said, in the log, as each kind of client starts.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use streamledger::config::Properties;
use streamledger::{Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The messages of all warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            let mut visitor = self;
            event.record(&mut visitor);
        }
    }
}

impl Visit for &Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{value:?}"));
        }
    }
}

#[test]
fn each_client_says_what_of_its_settings_has_no_effect() {
    let settings = Properties::new()
        .with("bootstrap.servers", "127.0.0.1:1")
        .with("metrics.recording.level", "DEBUG");
    let starts: [(&str, &dyn Fn()); 3] = [
        ("producer", &|| {
            let config = ProducerConfig::from_properties(&settings).unwrap();
            drop(Producer::new(config).unwrap());
        }),
        ("consumer", &|| {
            let config = ConsumerConfig::from_properties(&settings).unwrap();
            drop(Consumer::new(config).unwrap());
        }),
        ("admin client", &|| {
            let config = AdminConfig::from_properties(&settings).unwrap();
            drop(Admin::new(config).unwrap());
        }),
    ];
    for (client, start) in starts {
        let warnings = Warnings::default();
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::with_default(subscriber, start);
        let said = warnings.0.lock().unwrap();
        let [note] = said.as_slice() else { panic!("{client}: {said:?}") };
        assert!(note.starts_with("metrics.recording.level has no effect: "), "{client}: {note}");
    }
}
