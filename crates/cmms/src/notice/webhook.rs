//! An address that takes events: `CloudEvents` 1.0 in JSON, signed as Standard Webhooks describes it
//! (<https://www.standardwebhooks.com>): HMAC-SHA256 over `id.timestamp.body`.

use std::path::PathBuf;

use trimloop_core::time::Utc;
use trimloop_work::notify::Notice;
use ureq::http::Method;

use super::{Courier, Sender, event};
use crate::Trouble;
use crate::connector::url_mistake;
use crate::http::{Ask, Http, Login, Signature, Site, TimeLimits};
use crate::secret::SecretPlace;

/// Enough for a try now and then; how many notices there are is bound elsewhere.
const PER_MINUTE: u32 = 60;

/// What the client says of an order, and what is so of a notice.
const LOOKED_UP: &str = "whether it was done is looked up";
const SENT_AGAIN: &str = "it is sent again, under the same id";

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `https://`, host, port, path; `http://` for this machine itself.
    pub url: String,
    /// Key of the signature; without one events are not signed.
    pub secret: Option<SecretPlace>,
    /// Certificates that the server is judged by (PEM), instead of those of public issuers.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take.
    pub limits: TimeLimits,
}

impl Webhook {
    /// What is wrong with its address, if something is.
    pub fn mistake(&self) -> Option<&'static str> {
        url_mistake(&self.url)
    }
}

impl Courier for Webhook {
    fn deliver(&self, notice: &Notice, sender: &Sender, now: Utc) -> Result<(), Trouble> {
        let signature = self.secret.clone().map(|secret| Signature {
            header: "webhook-signature".to_owned(),
            prefix: "v1,",
            key: None,
            time_header: Some("webhook-timestamp".to_owned()),
            text: format!("{}.{{time}}.{{body}}", notice.id),
            is_base64: true,
            secret,
        });
        let site = Site {
            product: "webhook".to_owned(),
            url: self.url.clone(),
            ca_file: self.ca_file.clone(),
            login: signature.map_or(Login::Nobody, Login::Hmac),
            per_minute: PER_MINUTE,
            limits: self.limits,
        };
        let mut http =
            Http::new(site, std::sync::Arc::new(move || now)).map_err(Trouble::Paused)?;
        let body = event(notice, sender).to_string();
        let ask = Ask {
            method: Method::POST,
            // The address itself, to the letter: a slash more would be another place.
            path: self.url.clone(),
            headers: vec![("webhook-id".to_owned(), notice.id.clone())],
            body: Some(("application/cloudevents+json; charset=utf-8", body)),
        };
        http.ask(&ask).map(drop).map_err(|trouble| match trouble {
            Trouble::Unknown(why) => Trouble::Unknown(why.replace(LOOKED_UP, SENT_AGAIN)),
            other => other,
        })
    }
}
