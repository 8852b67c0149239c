//! A broker on its own, for trying things: `serve LISTEN [DATA_DIR] [NAME=VALUE]...`.

use std::error::Error;

use streamledger_broker::{Broker, BrokerConfig};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = BrokerConfig::builder().listen("127.0.0.1:9092");
    for (position, argument) in std::env::args().skip(1).enumerate() {
        config = match argument.split_once('=') {
            Some((name, value)) => config.property(name, value),
            None if position == 0 => config.listen(argument),
            None => config.data_dir(argument),
        };
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let started = std::time::Instant::now();
    let broker = Broker::start(config.build()?)?;
    println!("{} after {:?}", broker.bootstrap_servers(), started.elapsed());
    let stopper = broker.stopper();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(async move {
            // Without a handler the signal ends the program at once, and the next start recovers.
            if let Ok(mut terminated) = signal(SignalKind::terminate()) {
                tokio::select! {
                    _ = terminated.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                stopper.stop();
            }
        });
        broker.wait_async().await
    })?;
    Ok(())
}
