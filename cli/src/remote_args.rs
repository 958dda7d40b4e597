//! Options of `stepwell init`, `remote`, `push` and `pull`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::OutputArgs;

/// `stepwell remote`.
#[derive(Subcommand)]
pub enum RemoteCommand {
    /// Add a remote: a folder, s3://BUCKET/PREFIX, gs://, az://, https://HOST/PATH
    Add(RemoteAddArgs),
    /// List the remotes of the store
    List(RemoteListArgs),
    /// Forget a remote; what lies there stays
    Remove(RemoteRemoveArgs),
}

/// `stepwell remote add`.
#[derive(Args)]
pub struct RemoteAddArgs {
    /// Name of the remote; `origin` is the one that push and pull take when none is named
    pub name: String,
    /// Where it is, without credentials
    pub url: String,
    /// Endpoint of an S3 service other than Amazon's, such as MinIO
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Region of an S3 bucket
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Change the remote of this name
    #[arg(long)]
    pub force: bool,
}

/// `stepwell remote list`.
#[derive(Args)]
pub struct RemoteListArgs {
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell remote remove`.
#[derive(Args)]
pub struct RemoteRemoveArgs {
    /// Name of the remote
    pub name: String,
}

/// `stepwell push`.
#[derive(Args)]
#[command(after_help = "\
Only what is committed is sent; how many rows are not is said. What the remote has is not sent again, and a push that was
cut short goes on where it was. docs/REMOTES.md says how a remote is laid out.")]
pub struct PushArgs {
    /// Name or URL of the remote [default: origin, or the only one]
    pub remote: Option<String>,
    /// Only this run: a run id, the beginning of one, or a run's name; may be given several times
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Only runs of this pipeline
    #[arg(short, long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Files sent at once
    #[arg(short, long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Ask the remote for every file, and send again what it has lost
    #[arg(long)]
    pub check: bool,
    /// How to print what was sent.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell pull`.
#[derive(Args)]
#[command(after_help = "\
Every file is checked against its hash before it gets its name in the store. A damaged one is refused by name.")]
pub struct PullArgs {
    /// Name or URL of the remote [default: origin, or the only one]
    pub remote: Option<String>,
    /// Only this run: a run id or the beginning of one; may be given several times
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Only runs of this pipeline
    #[arg(short, long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Files fetched at once
    #[arg(short, long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Only say what would be fetched
    #[arg(long)]
    pub dry_run: bool,
    /// How to print what was fetched.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell init`: CMF's names and flags for a remote called `origin`.
#[derive(Subcommand)]
pub enum InitCommand {
    /// A folder
    Local(InitLocalArgs),
    /// MinIO, or another service that speaks S3
    #[command(name = "minioS3", alias = "minio-s3")]
    MinioS3(InitS3Args),
    /// Amazon S3
    #[command(name = "amazonS3", alias = "amazon-s3")]
    AmazonS3(InitS3Args),
    /// A machine reached by SSH
    #[command(name = "sshremote", alias = "ssh")]
    SshRemote(InitSshArgs),
    /// HTTP with a bearer token, as the Open Science Data Federation has it
    #[command(name = "osdfremote", alias = "osdf")]
    OsdfRemote(InitOsdfArgs),
    /// Show the remotes, without their credentials
    Show(RemoteListArgs),
}

/// What CMF's `init` takes besides, and Stepwell has no need of.
#[derive(Args)]
pub struct CmfArgs {
    /// Taken for CMF's scripts; git is only read, and needs no remote
    #[arg(long, value_name = "URL", hide = true)]
    pub git_remote_url: Option<String>,
    /// Taken for CMF's scripts
    #[arg(long, value_name = "URL", hide = true)]
    pub cmf_server_url: Option<String>,
    /// Taken for CMF's scripts
    #[arg(long, hide = true)]
    pub neo4j_user: Option<String>,
    /// Taken for CMF's scripts
    #[arg(long, hide = true)]
    pub neo4j_password: Option<String>,
    /// Taken for CMF's scripts
    #[arg(long, hide = true)]
    pub neo4j_uri: Option<String>,
}

/// `stepwell init local`.
#[derive(Args)]
pub struct InitLocalArgs {
    /// The folder
    #[arg(long, value_name = "PATH")]
    pub path: String,
    /// What is not used.
    #[command(flatten)]
    pub cmf: CmfArgs,
}

/// `stepwell init minioS3` and `amazonS3`.
#[derive(Args)]
pub struct InitS3Args {
    /// s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Endpoint of the service; MinIO needs one
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Id of the access key [default: the environment or the platform says]
    #[arg(long, value_name = "ID", requires = "secret_key")]
    pub access_key_id: Option<String>,
    /// The secret key; it goes to a file that only you may read
    #[arg(long, value_name = "KEY", requires = "access_key_id")]
    pub secret_key: Option<String>,
    /// Token of a session
    #[arg(long, value_name = "TOKEN")]
    pub session_token: Option<String>,
    /// What is not used.
    #[command(flatten)]
    pub cmf: CmfArgs,
}

/// `stepwell init sshremote`.
#[derive(Args)]
pub struct InitSshArgs {
    /// HOST/PATH, or ssh://HOST/PATH
    #[arg(long, value_name = "PATH")]
    pub path: String,
    /// User there
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// Port
    #[arg(long, default_value_t = 22, value_name = "PORT")]
    pub port: u16,
    /// Password; it goes to a file that only you may read [default: a key]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// File of the private key [default: id_ed25519, id_ecdsa or id_rsa in ~/.ssh]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// What is not used.
    #[command(flatten)]
    pub cmf: CmfArgs,
}

/// `stepwell init osdfremote`.
#[derive(Args)]
pub struct InitOsdfArgs {
    /// https://HOST/PATH
    #[arg(long, value_name = "URL")]
    pub path: String,
    /// Bearer token, or the file that holds it
    #[arg(long, value_name = "TOKEN|FILE")]
    pub access_token: Option<String>,
    /// Taken for CMF's scripts: caches are not used
    #[arg(long, value_name = "URL", hide = true)]
    pub cache: Option<String>,
    /// What is not used.
    #[command(flatten)]
    pub cmf: CmfArgs,
}
