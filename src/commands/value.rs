//! `dialtone put` and `dialtone get`: bytes that their own hash names.

use crate::commands::publish::put::{self, PutArgs};
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output, petnames};
use clap::Args;
use dialtone_resolver::settings::ProviderAt;
use dialtone_resolver::stub::Stub;
use dialtone_resolver::{Lookup, RecordSource};
use dialtone_shared::limits::VALUE_BYTES_MAX;
use dialtone_shared::{Scheme, SignedRecord};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Put bytes under the name that is their hash
///
/// Up to 60,000 bytes, which nobody can change, nor take back: the name is made from them. The provider keeps them until the day that is
/// printed, at the end of the 400th day from today (sooner where it says so: 30 days for strangers, where it has accounts), and longer when they are put again, by anyone.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone put logo.png\n  dialtone put logo.png --provider http://127.0.0.1:4380\n  dialtone put - <logo.png"
)]
pub struct PutValueArgs {
    /// The file; - is standard input
    file: PathBuf,
    /// Then wait until it is visible at this provider, too, for 30 s at most; repeat it for more
    #[arg(long, value_name = "URL")]
    wait_visible_at: Vec<ProviderAt>,
    /// Say what the name is, but put it nowhere
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Get the bytes that a name is the hash of
///
/// What comes is hashed on this machine: it is what the name was made from, or an error.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone get yesxrup4m6akgdtg7y71itp3hkxbsfo6mox4qo16qcndgawutqcnjfqw -o logo.png")]
pub struct GetValueArgs {
    /// The name
    name: String,
    /// Write it to this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Puts a file's bytes.
///
/// # Errors
/// The file cannot be read, or is none that can be a value; a provider says no or nothing.
pub async fn put(args: PutValueArgs) -> Outcome {
    let value = read(&args.file)?;
    if value.len() > VALUE_BYTES_MAX {
        let help = format!("a value has 1 to {VALUE_BYTES_MAX} bytes: put its parts, and a value that lists their names");
        return Err(Failure::new(Exit::BadInput, args.file.display(), "has more bytes than a value may have").help(help));
    }
    let record = SignedRecord::of_value(&value).map_err(|error| {
        Failure::new(Exit::BadInput, args.file.display(), error).help(format!("a value has 1 to {VALUE_BYTES_MAX} bytes"))
    })?;
    let how = PutArgs {
        if_match: None,
        wait_visible_at: args.wait_visible_at,
        until_visible: None,
        dry_run: args.dry_run,
        sign_only: None,
        json: args.json,
    };
    let is_told = !how.dry_run && !how.json;
    put::put_as_is(record, &how, &args.client).await?;
    if is_told {
        output::remark("lease    it ends on that day; whoever puts the same bytes again, from anywhere, makes it longer");
    }
    Ok(())
}

/// Gets a value.
///
/// # Errors
/// It is no such name; nobody answers; there is none.
pub async fn get(args: GetValueArgs) -> Outcome {
    let client = Client::load(&args.client)?;
    let name = petnames::resolve(&args.name, &client.map.value)?;
    if name.scheme() != Scheme::Content {
        return Err(Failure::new(Exit::BadInput, name, "not the name of a value").help("look at it with `dialtone resolve`"));
    }
    let stub = Stub::connect(client.stub_settings()).await.map_err(failures::stub)?;
    let value = match stub.lookup(&name).await.map_err(|error| failures::lookup(name, error))? {
        Lookup::Found { record, .. } => record.value(),
        Lookup::Absent { .. } => None,
    };
    let value = value.ok_or_else(|| {
        Failure::new(Exit::Absent, name, "nobody keeps this value").help("whoever has it may put it again: the name stays the same")
    })?;
    match args.output {
        Some(path) => write(&path, &value, args.force),
        None => output::bytes(&value),
    }
}

/// Writes a file that is not there yet, unless it may be overwritten. What is no file (`/dev/stdout`, a pipe) is written to as it is.
fn write(path: &Path, value: &[u8], may_overwrite: bool) -> Outcome {
    let is_stream = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
    let mut how = OpenOptions::new();
    how.write(true);
    if may_overwrite || is_stream {
        how.create(true).truncate(true);
    } else {
        how.create_new(true);
    }
    let done = how.open(path).and_then(|mut file| file.write_all(value));
    done.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Local, path.display(), "exists already, and is not overwritten")
            .help("choose another path, or overwrite it with --force"),
        _ => Failure::file(path, &error),
    })
}

/// One byte more than a value may have is enough to know that there are too many.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let most = VALUE_BYTES_MAX as u64 + 1;
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut value)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut value))
    };
    done.map(|_| value).map_err(|error| Failure::file(path, &error))
}
