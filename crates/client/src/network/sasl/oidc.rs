//! Tokens from an OAuth server by client id and secret (RFC 6749, section 4.4; KIP-768).

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::Value;
use streamledger_protocol::jaas::LoginModule;
use zeroize::Zeroizing;

use super::oauthbearer::extensions;
use super::token::{Token, TokenError, TokenFuture, TokenProvider};
use super::{bad, shown, unusable};
use crate::config::{ConfigError, Password, Properties, SecuritySettings, read_capped};
use crate::network::http::{Patience, Request, Response, Url, exchange};
use crate::network::tls::Tls;
use crate::network::{ExponentialBackoff, Jitter};

/// Asks the endpoint of `sasl.oauthbearer.token.endpoint.url`, or reads its file.
pub(super) struct ClientCredentials {
    source: Source,
    extensions: Vec<(String, String)>,
}

enum Source {
    /// A file with the token itself, which somebody else renews.
    File(PathBuf),
    Endpoint(Box<Endpoint>),
}

struct Endpoint {
    url: Url,
    /// None for an `http` address: whom the system trusts isn't even read then.
    tls: Option<Tls>,
    client_id: String,
    client_secret: Password,
    scope: Option<String>,
    urlencodes: bool,
    patience: Patience,
    backoff: ExponentialBackoff,
}

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const PATIENCE: Duration = Duration::from_secs(10);
const TOKEN_BYTES_MAX: u64 = 1024 * 1024;

impl ClientCredentials {
    /// Reads address, id and secret: from the settings, or as before Kafka 4.2 from the login
    /// module, which may also have `ssl.*` options for the endpoint and `extension_*`.
    pub(super) fn new(
        url: &str,
        settings: &SecuritySettings,
        jaas: Option<&LoginModule>,
    ) -> Result<Self, ConfigError> {
        if let Some(jaas) = jaas {
            let known = ["clientId", "clientSecret", "scope"];
            let is_known = |name: &str| {
                known.contains(&name) || name.starts_with("extension_") || name.starts_with("ssl.")
            };
            jaas.check_options(is_known).map_err(bad)?;
        }
        let extensions = jaas.map(|jaas| extensions(jaas, "extension_")).unwrap_or_default();
        let path = url.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
        if let Some(path) = path {
            return Ok(Self { source: Source::File(path.into()), extensions });
        }
        let endpoint = Endpoint::new(url, settings, jaas)?;
        Ok(Self { source: Source::Endpoint(Box::new(endpoint)), extensions })
    }
}

impl Endpoint {
    fn new(
        url: &str,
        settings: &SecuritySettings,
        jaas: Option<&LoginModule>,
    ) -> Result<Self, ConfigError> {
        let url = Url::parse(url).map_err(|reason| unusable(URL, reason))?;
        let option = |name: &str| jaas.and_then(|jaas| jaas.options.get(name)).cloned();
        let set = &settings.sasl_oauthbearer_client_credentials_client_id;
        let client_id = set.clone().or_else(|| Some(option("clientId")?.reveal().to_owned()));
        let missing = |name, option| {
            unusable(name, format!("it is not set, and sasl.jaas.config has no {option}"))
        };
        let set = settings.sasl_oauthbearer_client_credentials_client_secret.clone();
        let client_secret = set.or_else(|| option("clientSecret"));
        let set = settings.sasl_oauthbearer_scope.clone();
        let or_patience = |set: Option<Duration>| set.filter(|t| !t.is_zero()).unwrap_or(PATIENCE);
        let tls = if url.is_secure { Some(endpoint_tls(jaas)?) } else { None };
        Ok(Self {
            url,
            tls,
            client_id: client_id.ok_or_else(|| missing(CLIENT_ID, "clientId"))?,
            client_secret: client_secret.ok_or_else(|| missing(CLIENT_SECRET, "clientSecret"))?,
            scope: set.or_else(|| Some(option("scope")?.reveal().to_owned())),
            urlencodes: settings.sasl_oauthbearer_header_urlencode,
            patience: Patience {
                connect: or_patience(settings.sasl_login_connect_timeout),
                read: or_patience(settings.sasl_login_read_timeout),
            },
            backoff: ExponentialBackoff {
                first: settings.sasl_login_retry_backoff,
                max: settings.sasl_login_retry_backoff_max,
            },
        })
    }

    /// Asks until there is an answer for good, or `sasl.login.retry.backoff.max.ms` are over, as
    /// Java's client does.
    async fn ask(&self) -> Result<Token, TokenError> {
        let begun = Instant::now();
        let jitter = Jitter::new();
        let mut attempt = 0;
        loop {
            let error = match self.ask_once().await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            let wait = self.backoff.wait(attempt, jitter.chance());
            if !error.is_retriable() || begun.elapsed() + wait >= self.backoff.max {
                return Err(error);
            }
            tracing::debug!(%error, "asking for a token again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn ask_once(&self) -> Result<Token, TokenError> {
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = &self.scope {
            form.push_str("&scope=");
            form.push_str(&urlencoded(scope));
        }
        let authorization = self.authorization();
        let headers = [("Authorization", authorization.as_str())];
        let request = Request {
            method: "POST",
            url: &self.url,
            accept: "application/json",
            headers: &headers,
            body: Some(("application/x-www-form-urlencoded", &form)),
        };
        let response = exchange(request, self.tls.as_ref(), self.patience).await;
        let response = response.map_err(|fault| match fault.is_final {
            true => TokenError::fatal(format!(
                "{} (for this server: ssl.* options in sasl.jaas.config)",
                fault.reason
            )),
            false => TokenError::retriable(fault.reason),
        })?;
        read_response(&response, SystemTime::now())
    }

    /// HTTP's basic authentication, with id and secret as Java's client has them.
    fn authorization(&self) -> Zeroizing<String> {
        let (id, secret) = (&*self.client_id, self.client_secret.reveal());
        let pair = Zeroizing::new(match self.urlencodes {
            true => format!("{}:{}", urlencoded(id), urlencoded(secret)),
            false => format!("{id}:{secret}"),
        });
        let packed = Zeroizing::new(Base64::encode_string(pair.as_bytes()));
        Zeroizing::new(format!("Basic {}", *packed))
    }
}

/// TLS to the endpoint: the system's authorities, or the `ssl.*` options of the login module. The
/// brokers' truststore isn't used, as in Java.
fn endpoint_tls(jaas: Option<&LoginModule>) -> Result<Tls, ConfigError> {
    let options = jaas.into_iter().flat_map(|jaas| &jaas.options);
    let options = options.filter(|(name, _)| name.starts_with("ssl."));
    let properties = options
        .fold(Properties::new(), |properties, (name, value)| properties.with(name, value.reveal()));
    if properties.is_empty() {
        return Tls::of_the_system();
    }
    Tls::new(&SecuritySettings::from_properties(&properties)?)
}

impl TokenProvider for ClientCredentials {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async {
            let token = match &self.source {
                Source::File(path) => read_token(path)?,
                Source::Endpoint(endpoint) => endpoint.ask().await?,
            };
            let extended = self.extensions.iter();
            Ok(extended.fold(token, |token, (name, value)| token.with_extension(name, value)))
        })
    }
}

fn read_token(path: &std::path::Path) -> Result<Token, TokenError> {
    let unreadable = |reason| TokenError::retriable(format!("{}: {reason}", path.display()));
    let bytes = read_capped(path, TOKEN_BYTES_MAX).map_err(unreadable)?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned());
    Ok(token(&text, None, SystemTime::now()))
}

/// Errors of which a repetition won't make a success (`JwtRetriever` of Kafka).
fn is_final(status: u16) -> bool {
    matches!(status, 400..=407 | 409..=415 | 501 | 505)
}

fn read_response(response: &Response, now: SystemTime) -> Result<Token, TokenError> {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    let text_of = |name: &str| body.as_ref()?.get(name)?.as_str().map(str::to_owned);
    if !(200..300).contains(&response.status) {
        let why = [text_of("error"), text_of("error_description")];
        let why = why.into_iter().flatten().map(|text| shown(&text)).collect::<Vec<_>>();
        let reason = match &*why {
            [] => format!("the token endpoint answers {}", response.status),
            why => format!("the token endpoint answers {}: {}", response.status, why.join(": ")),
        };
        return Err(match is_final(response.status) {
            true => TokenError::fatal(reason),
            false => TokenError::retriable(reason),
        });
    }
    let text = text_of("access_token").map(Zeroizing::new);
    let text = text.filter(|text| !text.is_empty());
    let nothing = || TokenError::fatal("the token endpoint's answer has no access_token");
    let text = text.ok_or_else(nothing)?;
    let seconds = body.as_ref().and_then(|body| body.get("expires_in")?.as_f64());
    Ok(token(&text, seconds, now))
}

/// A token with its end: by its own claim `exp`, if it is a JWT, or as the server says.
fn token(text: &str, expires_in: Option<f64>, now: SystemTime) -> Token {
    let seconds = |number: f64| Duration::try_from_secs_f64(number).ok();
    let by_claim = expiry_claim(text).and_then(seconds);
    let by_claim = by_claim.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let by_server = expires_in.and_then(seconds).and_then(|life| now.checked_add(life));
    match by_claim.or(by_server) {
        Some(end) => Token::new(text).expiring_at(end),
        None => Token::new(text),
    }
}

fn expiry_claim(text: &str) -> Option<f64> {
    let claims = text.split('.').nth(1)?;
    let claims = Base64UrlUnpadded::decode_vec(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_f64()
}

/// As in forms: letters, digits and `-._*` stay, a blank is `+`.
fn urlencoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn response(status: u16, body: &str) -> Response {
        Response { status, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn an_answer_is_a_token_a_refusal_or_a_reason_to_ask_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let claims = Base64UrlUnpadded::encode_string(br#"{"sub":"a","exp":4600}"#);
        let jwt = format!("e30.{claims}.x");
        let body = format!(r#"{{"access_token":"{jwt}","expires_in":60}}"#);
        let token = read_response(&response(200, &body), now).unwrap();
        let end = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(token, Token::new(&*jwt).expiring_at(end(3_600)), "its own claim counts");
        let body = r#"{"access_token":"opaque","expires_in":60}"#;
        let token = read_response(&response(200, body), now).unwrap();
        assert_eq!(token, Token::new("opaque").expiring_at(end(60)));

        let body = r#"{"error":"invalid_client","error_description":"who?\nyou?"}"#;
        let error = read_response(&response(401, body), now).unwrap_err();
        let sentence = "no token: the token endpoint answers 401: invalid_client: who? you?";
        assert_eq!((error.to_string().as_str(), error.is_retriable()), (sentence, false));
        for (status, is_retriable) in
            [(500, true), (503, true), (429, true), (408, true), (404, false)]
        {
            let error = read_response(&response(status, "<html>"), now).unwrap_err();
            assert_eq!(error.is_retriable(), is_retriable, "{status}");
        }
        assert!(!read_response(&response(200, "{}"), now).unwrap_err().is_retriable());
    }

    /// Answers one request each with these, and gives what was asked.
    fn endpoint(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"scope=a+b%26c") {
                    let read = stream.read(&mut buffer).unwrap();
                    assert!(read > 0);
                    request.extend_from_slice(&buffer[..read]);
                }
                asked.push(String::from_utf8(request).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (url, serving)
    }

    #[test]
    fn an_endpoint_is_asked_with_id_and_secret_until_it_answers() {
        let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        let good = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"abc\",\"expires_in\":600}";
        let (url, serving) = endpoint(vec![busy, good]);
        let properties = Properties::new()
            .with(CLIENT_ID, "me")
            .with(CLIENT_SECRET, "s3cret")
            .with("sasl.oauthbearer.scope", "a b&c")
            .with("sasl.login.retry.backoff.ms", "5");
        let settings = SecuritySettings::from_properties(&properties).unwrap();
        let jaas = LoginModule::parse("X required extension_logicalCluster=lkc;").unwrap();
        let provider = ClientCredentials::new(&url, &settings, Some(&jaas)).unwrap();
        let Source::Endpoint(made) = &provider.source else { panic!("it is no file") };
        assert!(made.tls.is_none(), "whom to trust isn't read for an address without TLS");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(provider.token()).unwrap();
        assert_eq!(token.text().reveal(), "abc");
        assert_eq!(token.extensions(), [("logicalCluster".to_owned(), "lkc".to_owned())]);
        let asked = serving.join().unwrap();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].contains("Authorization: Basic bWU6czNjcmV0\r\n"), "{}", asked[1]);
        assert!(asked[1].starts_with("POST /token HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked[1]);
    }

    /// An endpoint with TLS that answers each connection whose handshake comes to its end.
    fn secure_endpoint(name: &str, answer: &'static str) -> (String, String) {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own_key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, own_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let signed = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &authority);
        let chain = vec![signed.unwrap().der().clone()];
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let provider = std::sync::Arc::new(crate::network::backend::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let server = std::sync::Arc::new(server.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let session = rustls::ServerConnection::new(server.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"grant_type=client_credentials") {
                    match stream.read(&mut buffer) {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                if request.ends_with(b"grant_type=client_credentials") {
                    stream.write_all(answer.as_bytes()).unwrap();
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        (url, authority.pem())
    }

    #[test]
    fn an_endpoint_with_tls_is_believed_only_if_its_authority_is_trusted() {
        let good = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"abc\",\"expires_in\":600}";
        let (url, authority) = secure_endpoint("an authority", good);
        let (_, stranger) = secure_endpoint("a stranger", good);
        let scratch = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |trusted: &str| {
            let file = scratch.path().join("authority.pem");
            std::fs::write(&file, trusted).unwrap();
            let jaas = format!(
                "X required clientId=me clientSecret=s3cret ssl.truststore.type=PEM \
                 ssl.truststore.location=\"{}\";",
                file.display()
            );
            let jaas = LoginModule::parse(&jaas).unwrap();
            let settings = SecuritySettings::from_properties(&Properties::new()).unwrap();
            let provider = ClientCredentials::new(&url, &settings, Some(&jaas)).unwrap();
            runtime.block_on(provider.token())
        };
        assert_eq!(ask(&authority).unwrap().text().reveal(), "abc");
        let error = ask(&stranger).unwrap_err();
        assert!(!error.is_retriable(), "{error}");
        let said = error.to_string();
        assert!(said.contains("is signed by nobody who is trusted here"), "{said}");
        assert!(said.contains("the server's certificate") && said.contains("sasl.jaas.config"));
        assert!(!said.contains("s3cret"), "{said}");
    }

    #[test]
    fn a_file_holds_the_token_itself() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("token");
        std::fs::write(&path, "abc\n").unwrap();
        let settings = SecuritySettings::from_properties(&Properties::new()).unwrap();
        let url = format!("file://{}", path.display());
        let provider = ClientCredentials::new(&url, &settings, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(provider.token()).unwrap(), Token::new("abc"));
        std::fs::remove_file(path).unwrap();
        assert!(runtime.block_on(provider.token()).unwrap_err().is_retriable());
    }

    #[test]
    fn what_is_missing_is_named() {
        let settings = SecuritySettings::from_properties(&Properties::new()).unwrap();
        let error = ClientCredentials::new("https://x/", &settings, None).err().unwrap();
        assert!(error.to_string().starts_with(CLIENT_ID), "{error}");
    }
}
