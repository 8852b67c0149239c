//! The network side: listeners, connections, frames.

mod admission;
mod answer_stream;
mod budget;
mod connection;
mod frame_reader;
mod listener;
mod log_limit;
mod response_writer;
mod tls;

pub(crate) use answer_stream::Piece;
pub(crate) use budget::{ByteBudget, BytePermit};
pub(crate) use listener::{BoundListener, Serving};
pub(crate) use tls::Tls;
