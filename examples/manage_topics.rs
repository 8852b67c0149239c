//! The admin client: creates a topic, describes it with its settings, lists, and deletes it again.
//!
//!     cargo run --release -p streamledger --example manage_topics [HOST:PORT]

use std::error::Error;

use streamledger::admin::ConfigResource;
use streamledger::{Admin, AdminConfig, ErrorCode, NewTopic};
use streamledger_broker::{Broker, BrokerConfig};

fn main() -> Result<(), Box<dyn Error>> {
    // Without an address, a broker of its own that leaves nothing behind.
    let Some(bootstrap_servers) = std::env::args().nth(1) else {
        let broker = Broker::start(BrokerConfig::default())?;
        return run(&broker.bootstrap_servers());
    };
    run(&bootstrap_servers)
}

fn run(bootstrap_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = AdminConfig::builder().bootstrap_servers(bootstrap_servers).build()?;
    let admin = Admin::new(config)?;
    let name = format!("example-{}", std::process::id());
    let topic = NewTopic::new(name.as_str(), 3, 1).config("cleanup.policy", "compact");
    // Each topic has its own answer; `only` is that of the one there is.
    let created = admin.create_topics(std::slice::from_ref(&topic))?.only()?;
    println!("created {} with id {}", created.name, created.id);
    // Every call has a twin that gives a future: `create_topics_async` and so on.
    let again = admin.create_topics(&[topic])?.only();
    let code = again.err().and_then(|error| error.code());
    assert_eq!(code, Some(ErrorCode::TopicAlreadyExists));

    let described = admin.describe_topics(&[name.as_str().into()])?.only()?;
    println!("it has {} partitions", described.partitions.len());
    let settings = admin.describe_configs(&[ConfigResource::Topic(name.as_str().into())])?;
    for entry in settings.only()?.iter().filter(|entry| entry.name == "cleanup.policy") {
        println!("{} = {}", entry.name, entry.value.as_deref().unwrap_or("null"));
    }
    println!("{} topics in all", admin.list_topics()?.len());
    admin.delete_topics(&[name.as_str().into()])?.only()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() -> Result<(), Box<dyn std::error::Error>> {
        let broker = super::Broker::start(super::BrokerConfig::default())?;
        super::run(&broker.bootstrap_servers())
    }
}
