//! The same library at Azure: every byte passes through the platform, as links of Azure's
//! own would ask for more than the published SDK sends.

use super::{begin, complete, content, get, put, resumable::goes_on, text, used};
use crate::{
    both_engines,
    harness::{Engine, azurite::Azurite, people::Id},
};

both_engines! {
    async fn a_container_at_azure_is_like_a_folder(engine: Engine) {
        let azurite = Azurite::start().await;
        let platform = azurite.platform(engine).await;
        let cleo = platform.person("Cleo").await;
        let big = "0123456789".repeat(1_200_000);
        let link = begin(&cleo, None, "big").await;
        assert!(text(&link, "signedUrl").starts_with(&platform.url));
        put(text(&link, "signedUrl"), big.clone()).await.with(200);
        let node = complete(&cleo, &link, big.len()).await.ok().id();
        assert!(content(&cleo, &node).await == big);
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        let served = get(text(&link, "signedUrl")).await;
        assert_eq!(served.headers()["x-content-type-options"], "nosniff");
        cleo.delete(&format!("/files/{node}")).await.with(204);
        cleo.delete(&format!("/files/{node}?permanent=true")).await.with(204);
        assert_eq!(platform.objects_of(&cleo).await, 0);
        assert_eq!(used(&cleo).await, 0);
    }

    async fn it_goes_on_into_a_container_at_azure(engine: Engine) {
        let azurite = Azurite::start().await;
        goes_on(&azurite.platform(engine).await).await;
    }
}
