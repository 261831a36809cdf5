//! The requests of Exchange Web Services, as documents.
//!
//! Source: EWS reference, the page of each operation. Each request validates against Microsoft's published schemas.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::xml::escaped;

/// The version whose schema is used: the oldest that is supported (EWS reference, "RequestServerVersion").
const SCHEMA_VERSION: &str = "Exchange2013_SP1";
/// The Message-ID of an item, by which copies of what was sent are found (MS-OXPROPS, PidTagInternetMessageId).
const MESSAGE_ID_TAG: &str = "0x1035";

/// A folder of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderRef {
    /// A folder that every mailbox has, with the address of the mailbox unless its user is impersonated.
    Known(&'static str, Option<String>),
    /// Any folder, by its identifier.
    Id(String),
}

impl FolderRef {
    fn xml(&self) -> String {
        match self {
            Self::Id(id) => format!("<t:FolderId Id=\"{}\"/>", escaped(id)),
            Self::Known(name, None) => format!("<t:DistinguishedFolderId Id=\"{name}\"/>"),
            Self::Known(name, Some(mailbox)) => format!(
                "<t:DistinguishedFolderId Id=\"{name}\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox>\
                 </t:DistinguishedFolderId>",
                escaped(mailbox)
            ),
        }
    }
}

/// A whole request: `operation` in its envelope, for the user with this address where one is impersonated.
pub(crate) fn envelope(impersonated: Option<&str>, operation: &str) -> String {
    let impersonation = impersonated.map_or(String::new(), |address| {
        let address = escaped(address);
        format!(
            "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{address}</t:PrimarySmtpAddress>\
             </t:ConnectingSID></t:ExchangeImpersonation>"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
         xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\">\
         <s:Header><t:RequestServerVersion Version=\"{SCHEMA_VERSION}\"/>{impersonation}</s:Header>\
         <s:Body>{operation}</s:Body></s:Envelope>"
    )
}

/// Whether a folder is there (GetFolder).
pub(crate) fn get_folder(folder: &FolderRef) -> String {
    format!(
        "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>\
         <m:FolderIds>{}</m:FolderIds></m:GetFolder>",
        folder.xml()
    )
}

/// What changed in a folder since `state` (SyncFolderItems).
pub(crate) fn sync_folder_items(folder: &FolderRef, state: Option<&str>, changes_max: usize) -> String {
    let state = state.map_or(String::new(), |state| format!("<m:SyncState>{}</m:SyncState>", escaped(state)));
    format!(
        "<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
         <t:FieldURI FieldURI=\"item:DateTimeReceived\"/><t:FieldURI FieldURI=\"item:Size\"/>\
         </t:AdditionalProperties></m:ItemShape><m:SyncFolderId>{}</m:SyncFolderId>{state}\
         <m:MaxChangesReturned>{changes_max}</m:MaxChangesReturned></m:SyncFolderItems>",
        folder.xml()
    )
}

fn item_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let id = |id| format!("<t:ItemId Id=\"{}\"/>", escaped(id));
    format!("<m:ItemIds>{}</m:ItemIds>", ids.into_iter().map(id).collect::<String>())
}

/// Items with their content as MIME, in this order (GetItem).
pub(crate) fn get_items<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    format!(
        "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent>\
         </m:ItemShape>{}</m:GetItem>",
        item_ids(ids)
    )
}

/// Sends a message and keeps a copy in `folder` (CreateItem).
pub(crate) fn send_item(mime: &[u8], folder: &FolderRef) -> String {
    format!(
        "<m:CreateItem MessageDisposition=\"SendAndSaveCopy\"><m:SavedItemFolderId>{}</m:SavedItemFolderId><m:Items>\
         <t:Message><t:MimeContent CharacterSet=\"UTF-8\">{}</t:MimeContent></t:Message></m:Items></m:CreateItem>",
        folder.xml(),
        STANDARD.encode(mime)
    )
}

/// The message in a folder with this Message-ID, which is given without angle brackets (FindItem).
pub(crate) fn find_message(folder: &FolderRef, message_id: &str) -> String {
    format!(
        "<m:FindItem Traversal=\"Shallow\"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>\
         <m:IndexedPageItemView MaxEntriesReturned=\"1\" Offset=\"0\" BasePoint=\"Beginning\"/>\
         <m:Restriction><t:IsEqualTo>\
         <t:ExtendedFieldURI PropertyTag=\"{MESSAGE_ID_TAG}\" PropertyType=\"String\"/>\
         <t:FieldURIOrConstant><t:Constant Value=\"&lt;{}&gt;\"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>\
         <m:ParentFolderIds>{}</m:ParentFolderIds></m:FindItem>",
        escaped(message_id),
        folder.xml()
    )
}

/// The folder with this name in another folder (FindFolder).
pub(crate) fn find_folder(parent: &FolderRef, name: &str) -> String {
    format!(
        "<m:FindFolder Traversal=\"Shallow\"><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>\
         <m:Restriction><t:IsEqualTo><t:FieldURI FieldURI=\"folder:DisplayName\"/>\
         <t:FieldURIOrConstant><t:Constant Value=\"{}\"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>\
         <m:ParentFolderIds>{}</m:ParentFolderIds></m:FindFolder>",
        escaped(name),
        parent.xml()
    )
}

/// A new mail folder in another folder (CreateFolder).
pub(crate) fn create_folder(parent: &FolderRef, name: &str) -> String {
    format!(
        "<m:CreateFolder><m:ParentFolderId>{}</m:ParentFolderId><m:Folders><t:Folder>\
         <t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>{}</t:DisplayName></t:Folder></m:Folders>\
         </m:CreateFolder>",
        parent.xml(),
        escaped(name)
    )
}

/// Moves items to a folder (MoveItem).
pub(crate) fn move_items<'a>(ids: impl IntoIterator<Item = &'a str>, folder: &FolderRef) -> String {
    format!("<m:MoveItem><m:ToFolderId>{}</m:ToFolderId>{}</m:MoveItem>", folder.xml(), item_ids(ids))
}

/// Deletes items, so that an administrator can still recover them (DeleteItem).
pub(crate) fn delete_items<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    // An inbox may also hold meetings and tasks. For these, the request has to say what becomes of other people's
    // copies.
    format!(
        "<m:DeleteItem DeleteType=\"SoftDelete\" SendMeetingCancellations=\"SendToNone\" \
         AffectedTaskOccurrences=\"AllOccurrences\">{}</m:DeleteItem>",
        item_ids(ids)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        let hostile = "\"/><evil>&\u{0}";
        let id = FolderRef::Id(hostile.to_owned());
        let known = FolderRef::Known("inbox", Some(hostile.to_owned()));
        for request in [
            sync_folder_items(&id, Some(hostile), 1),
            get_items([hostile]),
            find_message(&known, hostile),
            find_folder(&id, hostile),
            create_folder(&known, hostile),
            move_items([hostile], &id),
            delete_items([hostile]),
            envelope(Some(hostile), ""),
        ] {
            assert!(!request.contains("<evil>") && !request.contains('\u{0}'), "{request}");
        }
    }
}
