//! Objects in the bucket.

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use mailrail_engine::{outage::Outage, ports::BodyStore};

use mailrail_table::outage;

/// The bucket.
#[derive(Debug)]
pub struct Bodies {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl Bodies {
    /// The bucket of that name.
    #[must_use]
    pub const fn new(client: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { client, bucket }
    }
}

/// An object that is being written piece by piece.
#[derive(Debug)]
pub struct Upload {
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
}

impl BodyStore for Bodies {
    type Upload = Upload;

    async fn put(&self, key: &str, content: Bytes, media_type: &str) -> Result<(), Outage> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).content_type(media_type);
        request.body(ByteStream::from(content)).send().await.map_err(outage("writing to the bucket"))?;
        Ok(())
    }

    async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Outage> {
        let reply = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(reply) => reply,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(outage("reading from the bucket")(error)),
        };
        let length = reply.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(u64::MAX);
        if length > bytes_max {
            return Err(Outage::new(format!("the object {key} has {length} bytes; at most {bytes_max} are read")));
        }
        let content = reply.body.collect().await.map_err(|error| Outage::because("reading from the bucket", error))?;
        Ok(Some(content.into_bytes()))
    }

    async fn delete(&self, key: &str) -> Result<(), Outage> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        request.send().await.map_err(outage("deleting from the bucket"))?;
        Ok(())
    }

    async fn begin(&self, key: &str, media_type: &str) -> Result<Upload, Outage> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key).content_type(media_type);
        let reply = request.send().await.map_err(outage("beginning a large object"))?;
        let id = reply.upload_id.ok_or_else(|| Outage::new("the bucket began a large object without a name"))?;
        Ok(Upload { key: key.to_owned(), id, parts: Vec::new() })
    }

    async fn append(&self, upload: &mut Upload, piece: Bytes) -> Result<(), Outage> {
        let number = i32::try_from(upload.parts.len() + 1).unwrap_or(i32::MAX);
        let request = self.client.upload_part().bucket(&self.bucket).key(&upload.key).upload_id(&upload.id);
        let request = request.part_number(number).body(ByteStream::from(piece));
        let reply = request.send().await.map_err(outage("writing a piece of a large object"))?;
        upload.parts.push(CompletedPart::builder().part_number(number).set_e_tag(reply.e_tag).build());
        Ok(())
    }

    async fn finish(&self, upload: Upload) -> Result<(), Outage> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(&upload.key);
        let request = request.upload_id(&upload.id).multipart_upload(parts);
        request.send().await.map_err(outage("finishing a large object"))?;
        Ok(())
    }
}
