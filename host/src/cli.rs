//! The command line. Every command is a function of the settings; what goes wrong
//! is said in one line on standard error. Exit codes: 0, 1 for a failure, 2 for
//! usage.

mod backup;
mod inspect;
mod log;

use crate::{
    accounts, billing,
    catalog::{settings, signing},
    clock::Clock,
    config::{Config, Flags},
    demo,
    host::Host,
    net,
    objects::Objects,
    reseal, sandbox, serve, sessions,
    storage::Db,
    work,
};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// A marketplace host that runs AI agents, as webhooks or as sandboxed WebAssembly
/// components.
#[derive(Parser)]
#[command(name = "aiybiz", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    /// Print the settings in force, without secrets, and exit
    #[arg(long, global = true)]
    print_config: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients, builders, agents and operators
    Serve,
    /// Serve with seeded accounts and example agents, and show a conversation with each
    Demo {
        /// Exit after the conversations
        #[arg(long)]
        once: bool,
    },
    /// Bring the database's schema up to date
    Migrate,
    /// Manage operators
    #[command(subcommand)]
    Operator(Operator),
    /// Put every sealed value under the current secret key, so that the previous
    /// ones can be dropped; the server may go on
    Reseal,
    /// Work with the clients' libraries
    #[command(subcommand)]
    Files(FilesCommand),
    /// Work with the ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Copy all that a platform on SQLite and local files consists of into a folder, while
    /// it serves; the copy is a data folder to serve from
    Backup { folder: PathBuf },
    /// Say what an upload of this component would answer
    Inspect { file: PathBuf },
    /// Work with the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Judge one upload; run by the host itself
    #[command(hide = true)]
    CompileWorker { limits: String, parent: u32 },
}

#[derive(Subcommand)]
enum Operator {
    /// Make the user with this mail address an operator
    Grant { email: String },
}

#[derive(Subcommand)]
enum FilesCommand {
    /// Say where libraries, what is counted of them, and the store disagree
    Check,
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Say whether every cent is where it should be
    Check,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the settings make sense
    Check,
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        // Before any thread is started: the worker limits itself.
        Command::CompileWorker { limits, parent } => {
            sandbox::worker(&limits, parent).map_err(anyhow::Error::msg)
        }
        command => run(command, cli.flags, cli.print_config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aiybiz: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(command: Command, flags: Flags, print_config: bool) -> Result<()> {
    let demonstrates = matches!(command, Command::Demo { .. });
    let flags = if demonstrates { demo::defaults(flags) } else { flags };
    let config = Config::load(flags)?;
    if print_config {
        print!("{config}");
        return Ok(());
    }
    net::choose_cryptography();
    let _log = log::begin(demonstrates, config.web.otlp_url.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve(config).await,
            Command::Demo { once } => demo::run(config, once).await,
            Command::Migrate => migrate(config).await,
            Command::Operator(Operator::Grant { email }) => grant(config, &email).await,
            Command::Reseal => reseal(config).await,
            Command::Files(FilesCommand::Check) => check_files(config).await,
            Command::Ledger(LedgerCommand::Check) => check_ledger(config).await,
            Command::Backup { folder } => backup::run(config, &folder).await,
            Command::Inspect { file } => inspect::run(config, &file).await,
            Command::Config(ConfigCommand::Check) => {
                println!("the settings make sense");
                Ok(())
            }
            Command::CompileWorker { .. } => unreachable!("handled in main"),
        }
    })
}

async fn serve(mut config: Config) -> Result<()> {
    let listener = serve::listen(config.listen).await?;
    config.listen = listener.local_addr()?;
    let host = Host::open(config, Clock::default(), sandbox::this_program()).await?;
    if host.payments.name() == "test" {
        tracing::warn!("no STRIPE_SECRET_KEY: the built-in test gateway takes payments");
    } else if host.config.money.stripe_webhook_secret.is_empty() {
        tracing::warn!("no STRIPE_WEBHOOK_SECRET: nothing that Stripe tells is believed");
    }
    println!("listening on http://{}", listener.local_addr()?);
    serve::until(host, listener, serve::signal()).await
}

async fn migrate(config: Config) -> Result<()> {
    std::fs::create_dir_all(&config.data_dir)?;
    Db::open(&config.database_url).await.context("database")?.close().await;
    println!("the schema is up to date");
    Ok(())
}

async fn grant(config: Config, email: &str) -> Result<()> {
    let email = accounts::email(email)?;
    std::fs::create_dir_all(&config.data_dir)?;
    let db = Db::open(&config.database_url).await.context("database")?;
    let mut tx = db.write().await?;
    if !accounts::grant_operator(&mut tx, &Clock::default(), &email).await? {
        bail!("nobody has signed up with {email}");
    }
    tx.commit().await?;
    db.close().await;
    println!("{email} is an operator");
    Ok(())
}

async fn check_ledger(config: Config) -> Result<()> {
    let db = Db::open(&config.database_url).await.context("database")?;
    let checks = billing::check::check(&mut db.read().await?).await?;
    db.close().await;
    for check in &checks {
        let mark = if check.ok { "ok   " } else { "WRONG" };
        println!("{mark} {} {}", check.name, check.detail);
    }
    let wrong = checks.iter().filter(|check| !check.ok).count();
    if wrong > 0 {
        bail!("{wrong} of {} checks do not hold", checks.len());
    }
    Ok(())
}

async fn check_files(config: Config) -> Result<()> {
    let db = Db::open(&config.database_url).await.context("database")?;
    let objects = Objects::open(&config.storage()?).context("object store")?;
    let wrong = work::library::check(&db, &objects).await?;
    db.close().await;
    for wrong in &wrong {
        println!("{wrong}");
    }
    if !wrong.is_empty() {
        bail!("{} things are not as they should be", wrong.len());
    }
    println!("libraries, counts and store agree");
    Ok(())
}

async fn reseal(config: Config) -> Result<()> {
    let (clock, key) = (Clock::default(), config.key(&Clock::default())?);
    let db = Db::open(&config.database_url).await.context("database")?;
    let columns = [
        accounts::totp::SEALED,
        signing::SEALED,
        signing::SEALED_FORMER,
        settings::SEALED,
        sessions::shared::SEALED,
    ];
    let done = reseal::all(&db, &clock, &key, &columns).await?;
    db.close().await;
    println!("{} values were put under the current key", done.resealed);
    if done.unreadable > 0 {
        let (count, places) = (done.unreadable, done.places.join(", "));
        bail!("{count} cannot be opened with the keys that were given: {places}");
    }
    Ok(())
}
