//! Notices that wait to be sent, and those that were.

use mailrail_domain::words::notice::{Notice, NoticeStatus};
use mailrail_engine::{
    outage::Outage,
    ports::{NoticeStore, Page, PageRequest},
};

use mailrail_table::{decode, encode, listed, number};

use crate::{
    Store,
    keys::{self, SHARDS},
    rows::NoticeRow,
};

impl NoticeStore for Store {
    async fn notices(&self, status: NoticeStatus, page: &PageRequest) -> Result<Page<Notice>, Outage> {
        let lists = (0..SHARDS).map(|shard| keys::notices_in(status, shard)).collect();
        let (keys, cursor) = self.merged(lists, page, false).await?;
        let rows = self.table.get_all(keys, false).await?.into_iter().map(decode::<NoticeRow>);
        Ok(Page { items: rows.map(|row| row.map(|r| r.notice)).collect::<Result<_, _>>()?, cursor })
    }

    async fn update_notice(&self, notice: &Notice, attempts: u32) -> Result<bool, Outage> {
        let row = NoticeRow { notice: notice.clone() };
        let item = listed(encode(keys::notice(&notice.id), &row)?, keys::notice_place(notice));
        let request = self
            .table
            .replacing(item)
            .condition_expression("notice.attempts = :attempts")
            .expression_attribute_values(":attempts", number(attempts));
        self.table.put_if(request, "writing a notice").await
    }
}
