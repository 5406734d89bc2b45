//! What may be asked of the running daemon.

use tokio::sync::{mpsc, oneshot};

/// A request to the daemon's loop.
#[derive(Debug)]
pub enum Request {
    /// Read the configuration anew; the answer says why it was refused.
    Reload(Option<oneshot::Sender<Result<(), String>>>),
    /// End in order.
    Quit,
}

/// Where requests are put.
pub type Requests = mpsc::Sender<Request>;
