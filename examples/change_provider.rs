//! Changing provider and keeping the name: the key is the owner's, so the same record is put somewhere else, and the old provider is left.
//! Links to the name go on working; nobody has to be told.

mod parts;

use dialtone_resolver::layers::{ResolveOptions, resolve};
use parts::{Outcome, Owned, address, provider, stub};

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (old, new) = (
        provider(&folder.path().join("old")).await?,
        provider(&folder.path().join("new")).await?,
    );
    let mut name = Owned::new();
    name.publish(&old, vec![address([192, 0, 2, 7])]).await?;
    println!("kept by the old provider: {:?}", found(&old, &name).await?);

    name.publish(&new, vec![address([192, 0, 2, 7])]).await?;
    old.shutdown().await?;
    println!("kept by the new provider: {:?}", found(&new, &name).await?);
    println!("the same name: {}", name.name());
    Ok(new.shutdown().await?)
}

async fn found(provider: &dialtone_provider::Provider, name: &Owned) -> Outcome<dialtone_resolver::layers::Host> {
    let found = resolve(&stub(provider).await?, &name.name(), &ResolveOptions::default()).await?;
    Ok(found.endpoints.first().ok_or("it resolves")?.host.clone())
}
