//! `trimloop plc cert`: our certificate for the OPC UA link, and the servers we trust.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, builder::FalseyValueParser};
use serde_json::{Value, json};
use trimloop_core::time::Utc;

use super::super::load::settings;
use super::super::{Exit, Failure, Global, Ui};
use crate::error::{CERTIFICATE, PLC_UNREACHABLE, chain};
use crate::output::utc_text;
use crate::pki::{Certificate, Pki, PkiError, Place};
use crate::plc::{Offer, application_uri_of, offers};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  trimloop plc cert create                       Make ours, once, before the first encrypted link
  trimloop plc cert show                         Ours, those we trust, those put aside
  trimloop plc cert show --server opc.tcp://10.0.0.5:4840
                                                 What a server shows, and what we make of it
  trimloop plc cert trust 3f9c2b                 Trust one that was put aside, by its SHA-256
  trimloop plc cert trust press-4.der            Trust one from a file
  trimloop plc cert trust --issuer plant-ca.pem  Trust all servers that this CA vouches for
  trimloop plc cert crl plant-ca.crl             What the CA has taken back
  trimloop plc cert import our.pem our-key.pem   Ours, made by the plant's CA
  trimloop plc cert reject 3f9c2b                No longer
  trimloop plc cert renew                        The next one of ours; the old stays until the
                                                 server takes the new

Compare a SHA-256 with what the PLC's own tool shows before you trust it. A running service sees
the change at its next attempt, 10 s later at most.";

/// What to do with certificates.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CertArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make our key and certificate
    Create,
    /// Show ours, the trusted and the rejected
    Show {
        /// Ask this server what it shows
        #[arg(long, env = "TRIMLOOP_SERVER", hide_env = true, value_name = "URL")]
        server: Option<String>,
    },
    /// Trust a server's certificate, or an issuer
    Trust {
        /// Beginning of its SHA-256, or a file
        certificate: String,
        /// It is an issuer (CA): trust every server that it vouches for
        #[arg(long, env = "TRIMLOOP_ISSUER", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
        issuer: bool,
    },
    /// Take a copy of an issuer's revocation list (CRL)
    Crl {
        /// File, DER or PEM
        #[arg(value_name = "FILE")]
        list: PathBuf,
    },
    /// Take a certificate and key of ours that were made elsewhere, such as by the plant's CA
    Import {
        /// Our certificate (DER or PEM)
        #[arg(value_name = "CERTIFICATE")]
        certificate: PathBuf,
        /// Its private key (PEM)
        #[arg(value_name = "KEY")]
        key: PathBuf,
        /// Put it in force at once, whether the server takes it or not
        #[arg(long, env = "TRIMLOOP_ACTIVATE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
        activate: bool,
    },
    /// Trust it no longer
    Reject {
        /// Beginning of its SHA-256, or a file
        certificate: String,
    },
    /// Make our next key and certificate
    Renew {
        /// Put it in force at once, whether the server takes it or not
        #[arg(long, env = "TRIMLOOP_ACTIVATE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
        activate: bool,
    },
}

pub(super) fn run(ui: &Ui, global: &Global, args: &CertArgs) -> Result<Exit, Failure> {
    let settings = settings(global)?;
    let pki = Pki::new(&settings.data.join("pki"));
    let now = ui.clock().utc();
    let uri = application_uri_of(&settings.name);
    match &args.verb {
        Verb::Create => {
            let made = pki.create(&uri, now).map_err(|error| failure(&error))?;
            changed(ui, &pki, now, "made", &made, "trust it on the server, then start the service");
        }
        Verb::Show { server: None } => show(ui, &pki, now),
        Verb::Show { server: Some(url) } => return show_server(ui, &settings, url),
        Verb::Trust { certificate, issuer } => {
            let to = if *issuer { Place::Issuer } else { Place::Trusted };
            let kept = pki.decide(certificate, to).map_err(|error| failure(&error))?;
            let next = if *issuer {
                "the service takes every server that it vouches for, but for those in its \
                 revocation list; `trimloop plc cert crl FILE` takes one"
            } else {
                "the service takes it at its next attempt"
            };
            changed(ui, &pki, now, "trusted", &kept, next);
        }
        Verb::Crl { list } => {
            let kept = pki.add_list(list).map_err(|error| failure(&error))?;
            let next = "it counts from the next connect on; bring the CA's newer ones in time";
            let mut object = ui.head("trimloop.plc-crl/1", true);
            object["file"] = kept.display().to_string().into();
            object["next"] = next.into();
            ui.result(&format!("taken: {}\n{next}\n", kept.display()), &object);
        }
        Verb::Import { certificate, key, activate } => {
            let imported = pki.import(certificate, key, &uri, now);
            let (taken, in_force) = imported.map_err(|error| failure(&error))?;
            let next = if in_force || *activate {
                if !in_force {
                    pki.activate().map_err(|error| failure(&error))?;
                }
                "it is in force; the server must trust it, or its issuer"
            } else {
                "it comes into force when the server takes it, and the old one stays until then; \
                 the server must trust it, or its issuer"
            };
            changed(ui, &pki, now, "imported", &taken, next);
        }
        Verb::Reject { certificate } => {
            let kept = pki.decide(certificate, Place::Rejected).map_err(|error| failure(&error))?;
            let next = "the service turns it away from its next connect on";
            changed(ui, &pki, now, "rejected", &kept, next);
        }
        Verb::Renew { activate } => {
            let made = pki.renew(&uri, now).map_err(|error| failure(&error))?;
            let next = if *activate {
                pki.activate().map_err(|error| failure(&error))?;
                "it is in force; trust it on the server, which knows only the old one"
            } else {
                "trust it on the server; it comes into force when the server takes it, and the \
                 old one stays until then"
            };
            changed(ui, &pki, now, "made", &made, next);
        }
    }
    Ok(Exit::Ok)
}

fn failure(error: &PkiError) -> Failure {
    let help = match error {
        PkiError::Exists { .. } => "`trimloop plc cert renew` makes the next one",
        PkiError::Unclear { count: 0, .. } => {
            "`trimloop plc cert show` lists them; one that no server showed yet is named by its file"
        }
        PkiError::Unclear { .. } => "give more digits",
        PkiError::NotAnIssuer { .. } => {
            "an issuer is a CA's own certificate; leave --issuer out to trust the server itself"
        }
        PkiError::NotAList { .. } => "export the CA's revocation list as DER or PEM",
        PkiError::NotOurs { .. } | PkiError::NotAKey { .. } => {
            "let the CA make it for the application URI that `trimloop plc cert show` tells, with \
             an RSA key of 2048 bits or more, unencrypted"
        }
        PkiError::NotACertificate { .. } => "export the server's certificate as DER or PEM",
        _ => "see that the data folder exists and belongs to this user",
    };
    Failure::new(&CERTIFICATE, chain(error), Exit::Failed).help(help)
}

fn changed(ui: &Ui, pki: &Pki, now: Utc, done: &str, certificate: &Certificate, next: &str) {
    let print = certificate.fingerprint();
    let place = pki.list().into_iter().find(|(_, _, listed)| listed == certificate);
    let file = place.map(|(_, path, _)| path.display().to_string()).unwrap_or_default();
    let text = format!("{done}: {}\nSHA-256: {print}\nfile: {file}\n{next}\n", certificate.subject);
    let mut object = ui.head("trimloop.plc-cert/1", true);
    object["done"] = done.into();
    object["certificate"] = describe(certificate, now);
    object["file"] = file.into();
    object["next"] = next.into();
    ui.result(&text, &object);
}

fn show(ui: &Ui, pki: &Pki, now: Utc) {
    let all = pki.list();
    let mut text = String::new();
    let mut rows: Vec<Value> = Vec::new();
    for (place, path, certificate) in &all {
        text.push_str(&format!("{}\n{}", place.word(), lines(certificate, now)));
        let verdict = pki.judge(std::slice::from_ref(certificate), now);
        let of_a_server = matches!(place, Place::Trusted | Place::Rejected);
        let chain = verdict.chain.filter(|_| of_a_server);
        let above: Vec<String> =
            chain.iter().flat_map(|chain| &chain.issuers).map(|c| c.subject.clone()).collect();
        let why = verdict.distrust.filter(|_| of_a_server).map(|why| why.to_string());
        if !above.is_empty() {
            text.push_str(&format!("  vouched for  {}\n", above.join(" < ")));
        } else if let Some(why) = &why {
            text.push_str(&format!("  it           {why}\n"));
        }
        text.push_str(&format!("  file         {}\n", path.display()));
        let mut row = describe(certificate, now);
        row["place"] = place.word().into();
        row["chain"] = above.into();
        row["distrust"] = why.into();
        row["file"] = path.display().to_string().into();
        rows.push(row);
    }
    if all.is_empty() {
        text.push_str("no certificates yet; `trimloop plc cert create` makes ours\n");
    }
    let mut object = ui.head("trimloop.plc-certs/1", true);
    object["certificates"] = rows.into();
    ui.result(&text, &object);
}

fn lines(certificate: &Certificate, now: Utc) -> String {
    let days = certificate.days_left(now);
    let left = if days < 0 { "run out".to_owned() } else { format!("{days} days left") };
    let issuer = if certificate.self_signed() {
        String::new()
    } else {
        format!("  issuer       {}\n", certificate.issuer)
    };
    format!(
        "  subject      {}\n{issuer}  application  {}\n  hosts        {}\n  SHA-256      {}\n  \
         valid        {} to {} ({left})\n  key          RSA {}\n",
        certificate.subject,
        certificate.application_uri.as_deref().unwrap_or("none"),
        certificate.hosts.join(", "),
        certificate.fingerprint(),
        day(certificate.not_before),
        day(certificate.not_after),
        certificate.key_bits,
    )
}

fn day(at: Utc) -> String {
    utc_text(at).get(..10).unwrap_or_default().to_owned()
}

fn describe(certificate: &Certificate, now: Utc) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "application_uri": certificate.application_uri,
        "hosts": certificate.hosts,
        "sha256": certificate.fingerprint(),
        "not_before": utc_text(certificate.not_before),
        "not_after": utc_text(certificate.not_after),
        "days_left": certificate.days_left(now),
        "key_bits": certificate.key_bits,
    })
}

fn show_server(ui: &Ui, settings: &Settings, url: &str) -> Result<Exit, Failure> {
    let silent = |why: String| {
        Failure::new(&PLC_UNREACHABLE, why, Exit::Unreachable)
            .help("see that the server runs and that no firewall is between")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| silent(chain(&error)))?;
    let pki = settings.data.join("pki");
    let found = runtime.block_on(offers(url, &pki, ui.clock())).map_err(silent)?;
    let now = ui.clock().utc();
    let mut text = String::new();
    let mut shown: Option<&Certificate> = None;
    let mut rows = Vec::new();
    for Offer { policy, mode, certificate, issuers, refusal } in &found {
        text.push_str(&format!("{policy} {mode}: "));
        text.push_str(&match (policy.as_str(), refusal) {
            ("None", _) => "unprotected\n".to_owned(),
            (_, None) if !issuers.is_empty() => {
                let above: Vec<&str> = issuers.iter().map(|one| one.subject.as_str()).collect();
                format!("we take it, vouched for by {}\n", above.join(" < "))
            }
            (_, None) => "we take it\n".to_owned(),
            (_, Some(why)) => format!("{why}\n"),
        });
        if let Some(certificate) = certificate.as_ref().filter(|new| shown != Some(new)) {
            text.push_str(&lines(certificate, now));
            shown = Some(certificate);
        }
        rows.push(json!({
            "policy": policy, "mode": mode, "refusal": refusal,
            "issuers": issuers.iter().map(|one| describe(one, now)).collect::<Vec<_>>(),
            "certificate": certificate.as_ref().map(|certificate| describe(certificate, now)),
        }));
    }
    let good = found.iter().any(|offer| offer.policy != "None" && offer.refusal.is_none());
    let mut object = ui.head("trimloop.plc-server/1", good);
    object["endpoints"] = rows.into();
    ui.result(&text, &object);
    Ok(if good { Exit::Ok } else { Exit::Failed })
}
