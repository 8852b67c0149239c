//! Stock clients through our broker's listeners with OAUTHBEARER: Java by a signed token from a
//! file, librdkafka by one that nobody signed.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::broker::free_address;
use super::lab::{LIMIT, Trial};
use super::record::{Ack, Record, lines_of, read_lines};
use super::workload::motley;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const RECORDS: usize = 40;
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer";

pub(crate) fn let_stock_clients_in(trial: &Trial) -> Outcome<String> {
    let (issuer, stranger) = (Issuer::new()?, Issuer::new()?);
    let keys = trial.write("keys.json", &issuer.keys())?;
    let good = trial.write("good.jwt", &issuer.token("alice")?)?;
    let forged = trial.write("forged.jwt", &stranger.token("alice")?)?;
    let (signed, unsigned) = (free_address()?.port(), free_address()?.port());
    let settings = [
        format!(
            "listeners=PLAINTEXT://{{listener}},SIGNED://127.0.0.1:{signed},\
             UNSIGNED://127.0.0.1:{unsigned}"
        ),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SIGNED:SASL_PLAINTEXT,\
         UNSIGNED:SASL_PLAINTEXT"
            .to_owned(),
        "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
        "num.partitions=6".to_owned(),
        format!(
            "listener.name.signed.sasl.oauthbearer.jwks.endpoint.url=file://{}",
            keys.display()
        ),
        "listener.name.signed.sasl.oauthbearer.expected.audience=kafka".to_owned(),
        format!(
            "listener.name.unsigned.oauthbearer.sasl.server.callback.handler.class={OAUTH}.\
             internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        ),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let _broker = trial.own_broker(&settings)?;
    let java = || trial.tools().java("Peer");
    let allowed = || Ok(allowing(&good, java()?));
    round(trial, "java", &allowed, signed, &by_file(&good))?;
    let unsecured = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        "sasl.mechanism=OAUTHBEARER".to_owned(),
        "enable.sasl.oauthbearer.unsecure.jwt=true".to_owned(),
        "sasl.oauthbearer.config=principal=alice".to_owned(),
    ];
    round(trial, "python", &|| trial.tools().python(), unsigned, &unsecured)?;

    let file = trial.write("forged.tsv", &lines_of(&motley(&trial.topic("java"), 1)))?;
    let mut send = allowing(&forged, java()?);
    send.args(["produce", &format!("localhost:{signed}")]).arg(file).args(by_file(&forged));
    let finished = process::run(&mut send, b"", LIMIT)?;
    let said = finished.all_text();
    let is_named = said.contains("{\"status\":\"invalid_token\"}");
    ensure!(!finished.status.success() && is_named, "a forged token was told as {said}");
    Ok("java by a signed token from a file, librdkafka by an unsigned one; a forged one is named"
        .to_owned())
}

/// Sends records and reads them back.
fn round(
    trial: &Trial,
    name: &str,
    program: &dyn Fn() -> Outcome<Command>,
    port: u16,
    settings: &[String],
) -> Outcome<()> {
    let topic = trial.topic(name);
    let records = motley(&topic, RECORDS);
    let file = trial.write(&format!("{name}.tsv"), &lines_of(&records))?;
    let servers = format!("localhost:{port}");
    let mut send = program()?;
    send.args(["produce", &servers]).arg(file).args(settings);
    let acks = read_lines(&process::run_ok(&mut send, b"", LIMIT)?.text(), Ack::from_line)?;
    ensure!(acks.len() == RECORDS, "{name}: {} of {RECORDS} were acknowledged", acks.len());
    let mut read = program()?;
    read.args(["consume", &servers]).args(settings).arg(&topic);
    let read = read_lines(&process::run_ok(&mut read, b"", LIMIT)?.text(), Record::from_line)?;
    ensure!(read.len() == RECORDS, "{name}: {} of {RECORDS} came back", read.len());
    Ok(())
}

/// Java reads tokens of addresses only that it is told it may.
fn allowing(token: &Path, mut program: Command) -> Command {
    let allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed";
    let token = token.display();
    let options = format!("{allowed}.files={token} {allowed}.urls=file://{token}");
    program.env("JAVA_TOOL_OPTIONS", options);
    program
}

fn by_file(token: &Path) -> Vec<String> {
    vec![
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        "sasl.mechanism=OAUTHBEARER".to_owned(),
        format!("sasl.login.callback.handler.class={OAUTH}.OAuthBearerLoginCallbackHandler"),
        format!("sasl.oauthbearer.token.endpoint.url=file://{}", token.display()),
        format!("sasl.jaas.config={OAUTH}.OAuthBearerLoginModule required;"),
    ]
}

/// Who makes tokens.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Outcome<Self> {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let failed = |_| Failure::new("no key for tokens");
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(failed)?;
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random);
        Ok(Self(key.map_err(|rejected| Failure::new(rejected.to_string()))?))
    }

    fn keys(&self) -> String {
        let point = self.0.public_key().as_ref();
        let part = |range| Base64UrlUnpadded::encode_string(point.get(range).unwrap_or_default());
        let key = serde_json::json!({
            "kty": "EC", "crv": "P-256", "kid": "k1", "x": part(1..33), "y": part(33..65),
        });
        serde_json::json!({ "keys": [key] }).to_string()
    }

    fn token(&self, user: &str) -> Outcome<String> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = serde_json::json!({"alg": "ES256", "kid": "k1"});
        let claims = serde_json::json!({
            "sub": user, "aud": "kafka", "iat": since, "exp": since + 3600, "scope": "all",
        });
        let part =
            |json: serde_json::Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes());
        let signature = signature.map_err(|_| Failure::new("no signature"))?;
        Ok(format!("{text}.{}", Base64UrlUnpadded::encode_string(signature.as_ref())))
    }
}
