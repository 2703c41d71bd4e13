//! Follows the feed over WebSocket: each journal event as it happens, and pieces of a reply. Survives
//! nothing by itself; the caller comes back with its cursor.

use futures::StreamExt;
use opsward_domain::event::Event;
use opsward_domain::fault::Fault;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::Client;

/// One thing from the feed.
#[derive(Debug)]
pub enum Following {
    /// A journal event.
    Event(Box<Event>),
    /// A piece of a model's reply, for display only.
    Piece {
        /// The run it belongs to.
        run: String,
        /// The text.
        text: String,
    },
}

/// The feed after `after`.
pub async fn follow(
    client: &Client,
    after: u64,
) -> Result<impl futures::Stream<Item = Result<Following, Fault>> + Unpin + use<>, Fault> {
    let address = client.server().replacen("http", "ws", 1);
    let lost = |error: String| Fault::unavailable("the feed was lost").detail(error);
    let mut request =
        format!("{address}/api/v1/feed?after={after}").into_client_request().map_err(|e| lost(e.to_string()))?;
    if let Some(token) = client.token() {
        let value =
            format!("Bearer {token}").parse().map_err(|_| Fault::invalid("the token has characters no token has"))?;
        request.headers_mut().insert("authorization", value);
    }
    let (socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|error| lost(error.to_string()))?;
    Ok(Box::pin(socket.filter_map(move |frame| async move {
        match frame {
            Ok(Message::Text(text)) => Some(read(&text)),
            Ok(_) => None,
            Err(error) => Some(Err(Fault::unavailable("the feed was lost").detail(error.to_string()))),
        }
    })))
}

fn read(text: &str) -> Result<Following, Fault> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Fault::unavailable("the feed is unreadable").detail(error.to_string()))?;
    if let Some(piece) = value.get("piece").and_then(Value::as_str) {
        let run = value["stream"]["id"].as_str().unwrap_or_default().to_owned();
        return Ok(Following::Piece { run, text: opsward_domain::label::visible(piece) });
    }
    let event = serde_json::from_value(value).map_err(|error| {
        Fault::unavailable("the feed has an event I do not know")
            .detail(error.to_string())
            .hint("use the same version as the server")
    })?;
    Ok(Following::Event(Box::new(event)))
}
