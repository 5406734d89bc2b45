//! Interactions of a Slack app: somebody pressed the button of a page.

use serde::Deserialize;

use super::{Callback, CallbackError, Genuine, SKEW_MS, Service, Wish, name, verify};
use crate::model::Timestamp;
use crate::paging::acklink::AckLinks;
use crate::paging::config::CallbackSecrets;
use crate::paging::incident::Actor;
use crate::paging::receivers::BUTTON;

/// Buttons in one interaction.
const MAX_ACTIONS: usize = 32;

/// Both shapes: `interactive_message` of attachments, and `block_actions`.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    user: User,
    #[serde(default)]
    channel: Option<Channel>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    id: String,
    name: Option<String>,
    username: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Channel {
    name: Option<String>,
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Action {
    name: Option<String>,
    action_id: Option<String>,
    value: Option<String>,
}

pub(super) fn read(
    callback: &Callback,
    secrets: &CallbackSecrets,
    links: Option<&AckLinks>,
    now: Timestamp,
) -> Result<Genuine, CallbackError> {
    let timestamp = callback.timestamp.trim();
    if timestamp.is_empty() {
        return Err(CallbackError::Unsigned);
    }
    let parts: [&[u8]; 4] = [b"v0:", timestamp.as_bytes(), b":", &callback.body];
    verify(&callback.signature, "v0", secrets, &parts)?;
    let seconds: i64 =
        timestamp.parse().map_err(|_| CallbackError::Malformed("the timestamp is no number"))?;
    let at = seconds.saturating_mul(1000);
    if now.saturating_sub(at).saturating_abs() > SKEW_MS {
        return Err(CallbackError::Stale);
    }
    let payload = field(&callback.body, "payload").ok_or(CallbackError::Malformed("there is no payload"))?;
    let payload: Payload = serde_json::from_str(&payload)
        .map_err(|_| CallbackError::Malformed("the payload is no interaction"))?;
    // The signature is over the time and the body; with both the same it is the same request. How its digits are
    // written does not make it another one.
    let id = format!("{}:{}:{}", Service::Slack.as_str(), seconds, digest(&callback.body));
    let until = at.saturating_add(SKEW_MS);
    let wish = wish(&payload, callback, links, now)?;
    Ok(Genuine { wish, id, until })
}

fn wish(
    payload: &Payload,
    callback: &Callback,
    links: Option<&AckLinks>,
    now: Timestamp,
) -> Result<Wish, CallbackError> {
    if !matches!(payload.kind.as_str(), "interactive_message" | "block_actions") {
        return Ok(Wish::Nothing("an interaction that means nothing here"));
    }
    let ours = |a: &&Action| [&a.name, &a.action_id].into_iter().flatten().any(|n| n == BUTTON);
    let Some(action) = payload.actions.iter().take(MAX_ACTIONS).find(ours) else {
        return Ok(Wish::Nothing("a button of somebody else"));
    };
    let links = links.ok_or_else(|| CallbackError::Failed("acknowledge.key_file is not set".to_owned()))?;
    let claim = links.verify(action.value.as_deref().unwrap_or_default(), now)?;
    let user = &payload.user;
    let shown = user.username.as_deref().or(user.name.as_deref()).map(name).filter(|n| !n.is_empty());
    let by = match (shown, name(&user.id)) {
        (Some(shown), id) if !id.is_empty() => format!("{shown} ({id})"),
        (Some(shown), _) => shown,
        (None, id) if !id.is_empty() => id,
        (None, _) => "somebody in Slack".to_owned(),
    };
    let channel = payload.channel.as_ref().map(|c| name(c.name.as_deref().unwrap_or(&c.id)));
    let from = match channel.filter(|c| !c.is_empty()) {
        Some(channel) => format!("channel {channel}, {}", callback.from),
        None => callback.from.clone(),
    };
    let actor = Actor::new(by, Service::Slack.as_str(), from);
    Ok(Wish::Acknowledge { incident: claim.incident, actor, round: Some(claim.round), at: now })
}

fn digest(body: &[u8]) -> String {
    use sha2::Digest as _;
    crate::model::hex(&sha2::Sha256::digest(body))
}

/// A field of a form.
fn field(body: &[u8], wanted: &str) -> Option<String> {
    let pair = body.split(|b| *b == b'&').find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        (&pair[..at] == wanted.as_bytes()).then(|| &pair[at + 1..])
    })?;
    let mut out = Vec::with_capacity(pair.len());
    let mut bytes = pair.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (body, expect) in [
            ("payload=%7B%22a%22%3A+1%7D", Some("{\"a\": 1}")),
            ("x=1&payload=a%2Bb&payload=c", Some("a+b")),
            ("payload=", Some("")),
            ("payload", None),
            ("payload=%4", None),
            ("payload=%zz", None),
            ("payload=%ff", None),
            ("", None),
        ] {
            assert_eq!(field(body.as_bytes(), "payload").as_deref(), expect, "{body}");
        }
    }
}
