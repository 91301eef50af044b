// Keys: what agents call with. The text of a key is shown once, when it is made.
import { useState } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { date, moment, words } from "../format";
import { useResource } from "../resource";
import { project, whyNot } from "../session";
import { AsOf, Card, Do, Empty, Field, Form, Page, Secret, Shown, Tag, When } from "../ui/parts";
import { Table } from "../ui/table";

type Key = Schemas["KeyView"];

export function Keys() {
  const why = whyNot("keys");
  const path = { project: project.value };
  const keys = useResource(why ? "" : project.value, (signal) => settle(api.GET("/api/v1/admin/projects/{project}/keys", { params: { path }, signal })));
  const [fresh, show] = useState<{ what: string; text: string } | null>(null);
  const make = async ({ mode }: Record<string, string>): Promise<void> => {
    const { data } = await settle(api.POST("/api/v1/admin/projects/{project}/keys", { params: { path }, body: { mode: mode as "live" } }));
    show({ what: `The ${data.mode} key ${data.id}`, text: data.key });
    keys.reload();
  };
  if (why) return <Page title="Keys"><Empty title="Keys are not shown to you.">{why}</Empty></Page>;
  return (
    <Page title="Keys" about="What your agents call the edge with" asOf={<AsOf at={keys.answer?.asOf} />}>
      <When of={[keys]}>
        {fresh && <Secret what={fresh.what} text={fresh.text} />}
        <Card title="New key">
          <Form inline submit="Make a key" act={make}>
            <Field label="For"><select name="mode"><option value="live">live requests</option><option value="test">tests, never billed</option></select></Field>
          </Form>
        </Card>
        <Card title="All keys">
          <Shown of={keys} lines={4}>
            {(data) => (
              <Table
                caption="Keys"
                find="find"
                rows={data.keys}
                name={(key) => key.id}
                empty={<Empty title="No key yet.">Make one, and send it as the bearer token of your requests.</Empty>}
                columns={[
                  { title: "Key", cell: (key) => <code>{key.id}</code>, by: (key) => key.id },
                  { title: "For", cell: (key) => words(key.mode), by: (key) => key.mode },
                  { title: "Made", cell: (key) => <span title={moment(key.created_at)}>{date(key.created_at)}</span>, by: (key) => key.created_at, wide: true },
                  { title: "State", cell: (key) => <State of={key} /> },
                  { title: "Actions", cell: (key) => (key.revoked_at ? null : (
                    <span class="row">
                      <Do act={async () => {
                        const { data: next } = await settle(api.POST("/api/v1/admin/projects/{project}/keys/{name}/rotate", { params: { path: { ...path, name: key.id } }, body: {} }));
                        show({ what: `The key ${next.id}, in the place of ${next.replaces}, which works until ${moment(next.replaced_until)}`, text: next.key });
                        keys.reload();
                      }}>Rotate</Do>
                      <Do tone="danger" confirm={`Revoke ${key.id}? Requests with it are refused within seconds, and that cannot be undone.`} act={async () => {
                        await settle(api.DELETE("/api/v1/admin/projects/{project}/keys/{name}", { params: { path: { ...path, name: key.id } } }));
                        keys.reload();
                      }}>Revoke</Do>
                    </span>
                  )) },
                ]}
              />
            )}
          </Shown>
        </Card>
      </When>
    </Page>
  );
}

function State({ of: key }: { of: Key }) {
  if (key.revoked_at) return <Tag>{`revoked ${date(key.revoked_at)}`}</Tag>;
  if (key.expires_at) return <Tag tone="warn">{`until ${moment(key.expires_at)}`}</Tag>;
  return <Tag tone="good">works</Tag>;
}
