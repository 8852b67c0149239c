//! The metrics of a producer or a broker over HTTP: `/metrics` for Prometheus, `/health` for
//! whoever watches.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use clap::Args;
use streamledger::{PROMETHEUS_CONTENT_TYPE, Producer};
use tokio::sync::oneshot;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Where the metrics are served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArguments {
    /// Serve the producer's metrics for Prometheus at http://HOST:PORT/metrics while it runs; port
    /// 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Let --metrics-listen be an address that others can reach: nothing there is encrypted, and
    /// nobody is asked who they are
    #[arg(long, requires = "metrics_listen")]
    pub insecure_listen: bool,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl MetricsServer {
    /// Starts it if an address was given, and says on stderr where it is unless `quiet`.
    pub fn start(
        arguments: &MetricsArguments,
        producer: &Producer,
        quiet: bool,
    ) -> Outcome<Option<MetricsServer>> {
        let Some(address) = arguments.metrics_listen else { return Ok(None) };
        let server = Self::serve(address, arguments.insecure_listen, pages(producer.clone()))?;
        if !quiet {
            ui::say(server.greeting());
        }
        Ok(Some(server))
    }

    /// Says where they are.
    pub fn greeting(&self) -> String {
        format!("metrics at http://{}/metrics", self.address)
    }

    /// Serves these pages at an address, which must be a loopback one unless others are allowed.
    pub fn serve(
        address: SocketAddr,
        allows_others: bool,
        pages: Router,
    ) -> Outcome<MetricsServer> {
        if !address.ip().is_loopback() && !allows_others {
            return Failure::new(
                Exit::Usage,
                format!("metrics at {address} could be read by others"),
            )
            .cause("nothing there is encrypted, and nobody is asked who they are")
            .remedy("listen on 127.0.0.1, or allow it with --insecure-listen")
            .err();
        }
        let server = listen(address, pages).map_err(|error| {
            Failure::new(Exit::Failed, format!("can't serve metrics at {address}"))
                .because(&error)
                .remedy("choose another address with --metrics-listen; port 0 takes a free one")
        })?;
        Ok(server)
    }
}

fn listen(address: SocketAddr, pages: Router) -> io::Result<MetricsServer> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = async move {
        let served =
            async { axum::serve(tokio::net::TcpListener::from_std(listener)?, pages).await };
        tokio::select! {
            ended = served => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "metrics are served no more");
                }
            }
            _ = stopped => {}
        }
        Ok::<(), io::Error>(())
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let _ = runtime.block_on(serve);
    })?;
    Ok(MetricsServer { address: bound, _stop: stop })
}

fn pages(producer: Producer) -> Router {
    let metrics = move || {
        let text = producer.metrics().to_prometheus();
        std::future::ready(([(CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE)], text))
    };
    Router::new().route("/metrics", get(metrics)).route("/health", get("ok\n"))
}
