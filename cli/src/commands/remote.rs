//! `stepwell remote` and `stepwell init`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use stepwell_engine::Access;
use stepwell_remote::{Credentials, RemoteEntry, credentials, entries};

use crate::args::{Format, OutputArgs};
use crate::error::Result;
use crate::out::Out;
use crate::remote_args::{CmfArgs, InitCommand, InitOsdfArgs, InitS3Args, InitSshArgs, RemoteAddArgs, RemoteCommand};
use crate::table::{Side, TextTable};
use crate::{messages, sql};

/// The remote that `init` sets up.
const DEFAULT_NAME: &str = "origin";

/// Adds, lists or removes remotes of a store.
///
/// # Errors
/// Those of the list of remotes.
pub fn run(store: &Path, command: &RemoteCommand, out: &mut Out) -> Result<()> {
    match command {
        RemoteCommand::Add(args) => add(store, args),
        RemoteCommand::List(args) => list(store, &args.output, out),
        RemoteCommand::Remove(args) => Ok(entries::remove(store, &args.name)?),
    }
}

fn add(store: &Path, args: &RemoteAddArgs) -> Result<()> {
    super::open(store, Access::Create)?;
    let RemoteAddArgs { name, url, endpoint_url, region, force } = args;
    let entry = RemoteEntry { endpoint: endpoint_url.clone(), region: region.clone(), ..RemoteEntry::new(name, url) };
    Ok(entries::add(store, entry, *force)?)
}

fn list(store: &Path, output: &OutputArgs, out: &mut Out) -> Result<()> {
    let remotes = entries::list(store)?;
    if output.format() == Format::Table && output.output.is_none() {
        if !remotes.is_empty() {
            let columns = [("name", Side::Left), ("url", Side::Left), ("endpoint", Side::Left), ("region", Side::Left)];
            let mut table = TextTable::new(&columns);
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            for RemoteEntry { name, url, endpoint, region } in remotes {
                table.row([name, url, or_none(&endpoint), or_none(&region)]);
            }
            out.write_all(table.lines(0).as_bytes())?;
        }
        return Ok(out.flush()?);
    }
    let text = |of: &dyn Fn(&RemoteEntry) -> Option<String>| -> ArrayRef {
        Arc::new(remotes.iter().map(of).collect::<StringArray>())
    };
    let columns = [
        ("name", text(&|entry| Some(entry.name.clone())), false),
        ("url", text(&|entry| Some(entry.url.clone())), false),
        ("endpoint", text(&|entry| entry.endpoint.clone()), true),
        ("region", text(&|entry| entry.region.clone()), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    sql::print(&batch.schema(), &[batch], output, out)
}

/// Sets up the store and its remote `origin`, as CMF's `init` does, or shows the remotes.
///
/// # Errors
/// Those of the list of remotes and the file of credentials.
pub fn init(store: &Path, command: &InitCommand, out: &mut Out) -> Result<()> {
    let (url, credentials, cmf) = match command {
        InitCommand::Show(args) => return list(store, &args.output, out),
        InitCommand::Local(args) => (args.path.clone(), Credentials::default(), &args.cmf),
        InitCommand::MinioS3(args) | InitCommand::AmazonS3(args) => (args.url.clone(), of_s3(args), &args.cmf),
        InitCommand::SshRemote(args) => (url_of_ssh(args), of_ssh(args), &args.cmf),
        InitCommand::OsdfRemote(args) => (args.path.clone(), of_osdf(args), &args.cmf),
    };
    let (endpoint, region) = match command {
        InitCommand::MinioS3(args) | InitCommand::AmazonS3(args) => (args.endpoint_url.clone(), args.region.clone()),
        _ => (None, None),
    };
    let entry = RemoteEntry { endpoint, region, ..RemoteEntry::new(DEFAULT_NAME, url) }.checked()?;
    super::open(store, Access::Create)?;
    let url = entry.url.clone();
    entries::add(store, entry, true)?;
    messages::say(&format!("the remote {DEFAULT_NAME} is {url}"));
    if credentials != Credentials::default() {
        let path = credentials::save(&url, &credentials)?;
        messages::say(&format!("its credentials are in {}, which only you may read", path.display()));
    }
    tell_unused(cmf);
    Ok(())
}

fn of_s3(args: &InitS3Args) -> Credentials {
    Credentials {
        access_key_id: args.access_key_id.clone(),
        secret_access_key: args.secret_key.clone(),
        session_token: args.session_token.clone(),
        ..Credentials::default()
    }
}

fn of_ssh(args: &InitSshArgs) -> Credentials {
    Credentials { password: args.password.clone(), key_file: args.key_file.clone(), ..Credentials::default() }
}

/// CMF writes HOST/PATH, or `ssh://HOST/PATH`.
fn url_of_ssh(args: &InitSshArgs) -> String {
    let place = args.path.split_once("://").map_or(args.path.as_str(), |(_, rest)| rest);
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let port = if args.port == 22 { String::new() } else { format!(":{}", args.port) };
    format!("ssh://{}@{host}{port}/{}", args.user, path.trim_start_matches('/'))
}

fn of_osdf(args: &InitOsdfArgs) -> Credentials {
    let Some(token) = args.access_token.clone() else { return Credentials::default() };
    let path = std::path::absolute(&token).ok().filter(|path| path.is_file());
    match path {
        Some(path) => Credentials { token_file: Some(path), ..Credentials::default() },
        None => Credentials { token: Some(token), ..Credentials::default() },
    }
}

fn tell_unused(cmf: &CmfArgs) {
    let given = [
        ("--git-remote-url", cmf.git_remote_url.is_some()),
        ("--cmf-server-url", cmf.cmf_server_url.is_some()),
        ("--neo4j-user", cmf.neo4j_user.is_some()),
        ("--neo4j-password", cmf.neo4j_password.is_some()),
        ("--neo4j-uri", cmf.neo4j_uri.is_some()),
    ];
    let given: Vec<_> = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
    if !given.is_empty() {
        messages::say(&format!("not used: {}; git is only read, and no server is needed", given.join(", ")));
    }
}
