//! `state`, `secrets` and `config`: what is kept for a guest.

use crate::sandbox::{
    guest::{Guest, within},
    scope::State,
    world::aiybiz::agent::{config, secrets, state},
};
use secrets::SecretError;
use state::StateError;
use wasmtime::{Result, component::Resource};

/// The longest key of the state, in bytes.
const KEY_BYTES: usize = 256;

/// A secret that was looked up; its value is in the host until it is revealed.
pub struct Secret(String);

impl state::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, StateError>> {
        self.call("state.get").await?;
        Ok(self.loaded_state("state.get").await?.map(|state| state.get(&key).cloned()))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), StateError>> {
        self.call("state.set").await?;
        if key.is_empty() || key.len() > KEY_BYTES || key.contains('\0') {
            return Ok(Err(StateError::InvalidKey));
        }
        let limit = self.limits.state_bytes;
        let state = match self.loaded_state("state.set").await? {
            Ok(state) => state,
            Err(refused) => return Ok(Err(refused)),
        };
        let others = state.iter().filter(|(other, _)| **other != key);
        let size: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        if (size + key.len() + value.len()) as u64 > limit {
            return Ok(Err(StateError::QuotaExceeded(limit)));
        }
        state.insert(key, value);
        self.state_changed = true;
        Ok(Ok(()))
    }

    async fn delete(&mut self, key: String) -> Result<Result<(), StateError>> {
        self.call("state.delete").await?;
        let removed = self.loaded_state("state.delete").await?.map(|state| state.remove(&key));
        self.state_changed |= matches!(removed, Ok(Some(_)));
        Ok(removed.map(drop))
    }

    async fn keys(&mut self, prefix: String) -> Result<Result<Vec<String>, StateError>> {
        self.call("state.keys").await?;
        Ok(self
            .loaded_state("state.keys")
            .await?
            .map(|state| state.keys().filter(|key| key.starts_with(&prefix)).cloned().collect()))
    }
}

impl Guest {
    async fn loaded_state(&mut self, name: &'static str) -> Result<Result<&mut State, StateError>> {
        if self.state.is_none() {
            let scope = self.scope.clone();
            match within(self.limits.host_call(), name, scope.state()).await? {
                Ok(state) => self.state = Some(state),
                Err(denied) => return Ok(Err(StateError::Unavailable(denied.to_string()))),
            }
        }
        Ok(Ok(self.state.get_or_insert_default()))
    }
}

impl secrets::Host for Guest {
    async fn get(&mut self, name: String) -> Result<Result<Resource<Secret>, SecretError>> {
        self.call("secrets.get").await?;
        // PostgreSQL does not even look for a name with a NUL.
        if name.contains('\0') {
            return Ok(Err(SecretError::NotFound));
        }
        let scope = self.scope.clone();
        Ok(match within(self.limits.host_call(), "secrets.get", scope.secret(&name)).await? {
            Ok(Some(secret)) if secret.sites.is_empty() => Ok(self.hold(Secret(secret.value))?),
            Ok(Some(_)) => {
                self.warn(format!(
                    "the secret {name} is bound to sites and never revealed; write {{{{secret:{name}}}}} in a request's header"
                ));
                Err(SecretError::NotFound)
            }
            Ok(None) => Err(SecretError::NotFound),
            Err(denied) => Err(SecretError::Unavailable(denied.to_string())),
        })
    }
}

impl secrets::HostSecret for Guest {
    async fn reveal(&mut self, this: Resource<Secret>) -> Result<Result<String, SecretError>> {
        self.call("secret.reveal").await?;
        Ok(Ok(self.table.get(&this)?.0.clone()))
    }

    async fn drop(&mut self, this: Resource<Secret>) -> Result<()> {
        self.release(this)?;
        Ok(())
    }
}

impl config::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        self.call("config.get").await?;
        let scope = self.scope.clone();
        // The WIT has no error here: a store that fails ends the event.
        let values = within(self.limits.host_call(), "config.get", scope.config()).await?;
        let mut values = values.map_err(|denied| wasmtime::format_err!("config: {denied}"))?;
        Ok(values.remove(&key))
    }
}
