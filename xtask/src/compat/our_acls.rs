//! ACLs by Kafka's own tool: what kafka-acls allows our broker lets Java do, what it takes away is
//! refused again, by the names that Java's clients know.

use super::broker::free_address;
use super::lab::Trial;
use super::our_client;
use super::record::lines_of;
use super::toolbox::Calls;
use super::workload::motley;
use crate::failure::Outcome;
use streamledger::NewTopic;

const RECORDS: usize = 20;
const LOGIN: [&str; 3] = [
    "security.protocol=SASL_PLAINTEXT",
    "sasl.mechanism=SCRAM-SHA-256",
    "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
     username=\"alice\" password=\"alice-secret\";",
];
/// What a program of ours in Java ends with when it throws.
const THROWN: i32 = 99;

pub(crate) fn say_who_may_do_what(trial: &Trial) -> Outcome<String> {
    // A door for the administrator, who is anonymous there, and one for users.
    let users = free_address()?.to_string();
    let broker = trial.own_broker(&[
        &format!("listeners=PLAINTEXT://{{listener}},USERS://{users}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS",
        "group.initial.rebalance.delay.ms=0",
    ])?;
    let topic = trial.topic("clicks");
    let admin = our_client::admin(&broker.bootstrap())?;
    admin.create_topics(&[NewTopic::new(topic.as_str(), 6, 1)])?.only()?;
    let records = trial.write("records.tsv", &lines_of(&motley(&topic, RECORDS)))?;
    let records = records.display().to_string();
    let login = trial.write("alice.properties", &LOGIN.join("\n"))?;
    let login = login.display().to_string();

    let mut calls = Calls::default();
    let send = ["Peer", "produce", &users, &records].into_iter().chain(LOGIN);
    let send: Vec<&str> = send.collect();
    let config = "kafka.admin.ConfigCommand --bootstrap-server BROKERS --alter --entity-type users";
    let password = "SCRAM-SHA-256=[password=alice-secret]";
    calls.call(&format!("{config} --entity-name alice --add-config {password}"), 0, &[]);
    calls.words(send.iter().copied(), THROWN, &["Not authorized to access topics"]);
    let acls = format!("AclCommand --bootstrap-server BROKERS --topic {topic}");
    let alice = "--allow-principal User:alice";
    calls.tool(&format!("{acls} --add {alice} --producer"), &["operation=WRITE"]);
    calls.words(send.iter().copied(), 0, &[&format!("{topic}\t1\t6")]);
    let groups = "consumer.group.ConsumerGroupCommand --describe --group readers";
    let group = format!("{groups} --bootstrap-server {users} --command-config {login}");
    calls.tool(&group, &["GroupAuthorizationException"]);
    calls.tool(&format!("{acls} --add {alice} --consumer --group readers"), &["operation=READ"]);
    let read = format!(
        "consumer.ConsoleConsumer --bootstrap-server {users} --command-config {login} --topic \
         {topic} --group readers --from-beginning --timeout-ms 20000 --max-messages {RECORDS}"
    );
    calls.tool(&read, &[&format!("Processed a total of {RECORDS} messages")]);
    let row = |operation| {
        format!("(principal=User:alice, host=*, operation={operation}, permissionType=ALLOW)")
    };
    let rows = ["WRITE", "CREATE", "DESCRIBE", "READ"].map(row);
    calls.tool(&format!("{acls} --list"), &rows.each_ref().map(String::as_str));
    let removed = format!("!{}", row("WRITE"));
    calls.tool(&format!("{acls} --remove --force {alice} --producer"), &[&removed]);
    // She still sees the topic, as she reads it; a producer id is for who may write to some topic.
    calls.words(send.iter().copied(), THROWN, &["Cluster authorization failed"]);
    let count = calls.run_against(trial, &broker.bootstrap())?;
    Ok(format!(
        "{count} calls: kafka-acls added, listed and removed; a Java producer and a group were \
         refused, let in, and refused again"
    ))
}
