// Members: who may look at the project and do what, and who is invited.
import { useState } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { date, foreign, moment, words } from "../format";
import { useResource } from "../resource";
import { project, whyNot } from "../session";
import { Erase, type Erased, ErasedNotice } from "../ui/erase";
import { AsOf, Card, Do, Empty, Field, Form, Page, Secret, Shown, Tag, When } from "../ui/parts";
import { Table } from "../ui/table";

type Member = Schemas["MemberView"];
type Role = Schemas["Role"];

const ROLES: [Role, string][] = [
  ["viewer", "reads"],
  ["finance", "reads, pays"],
  ["admin", "keys, webhooks, spending, audit log"],
  ["owner", "everything"],
];

export function Members() {
  const why = whyNot("members");
  const path = { project: project.value };
  const members = useResource(why ? "" : project.value, (signal) => settle(api.GET("/api/v1/admin/projects/{project}/members", { params: { path }, signal })));
  const invited = useResource(why ? "" : project.value, (signal) => settle(api.GET("/api/v1/admin/projects/{project}/invitations", { params: { path }, signal })));
  // Whoever runs the meter may erase people here too, by the account that a member signs in to.
  const operates = !whyNot("operate");
  const accounts = useResource(operates ? "accounts" : "", (signal) => settle(api.GET("/api/v1/admin/accounts", { signal })));
  const [fresh, show] = useState<Schemas["NewInvitationView"] | null>(null);
  const [erased, gone] = useState<Erased | null>(null);
  if (why) return <Page title="Members"><Empty title="Members are not shown to you.">{why}</Empty></Page>;
  const invite = async ({ email = "", role }: Record<string, string>, form: HTMLFormElement): Promise<void> => {
    show((await settle(api.POST("/api/v1/admin/projects/{project}/invitations", { params: { path }, body: { email, role: role as Role } }))).data);
    form.reset();
    invited.reload();
  };
  const places = members.answer?.data.members_max;
  return (
    <Page title="Members" about={places === undefined ? "" : places === null ? "as many as you like" : `${members.answer?.data.members.filter((member) => !member.removed_at).length ?? 0} of ${places} places of the plan`} asOf={<AsOf at={members.answer?.asOf} />}>
      <When of={operates ? [members, invited, accounts] : [members, invited]}>
        {erased && <ErasedNotice erased={erased} />}
        {fresh && (
          <Secret what={`The invitation of ${fresh.email}`} text={`${location.origin}/#invitation=${fresh.token}`}>
            <p class="soft small-text">Hand it on by a way that you trust. It works once, until {moment(fresh.expires_at)}.</p>
          </Secret>
        )}
        <Card title="Invite somebody">
          <Form inline submit="Invite" act={invite}>
            <Field label="E-mail"><input name="email" type="email" required maxLength={120} /></Field>
            <Field label="Role"><select name="role">{ROLES.map(([role, what]) => <option key={role} value={role}>{words(role)}: {what}</option>)}</select></Field>
          </Form>
        </Card>
        <Card title="People and tokens">
          <Shown of={members} lines={4}>
            {(data) => (
              <Table
                caption="Members"
                find="find"
                rows={data.members.filter((member) => !member.removed_at)}
                name={(member) => member.id}
                empty={<Empty title="Nobody yet." />}
                columns={[
                  { title: "Name", cell: (member) => foreign(member.name), by: (member) => member.name },
                  { title: "Signs in", cell: (member) => (member.signs_in ? <Tag tone="good">here</Tag> : <Tag>by token</Tag>), wide: true },
                  { title: "Since", cell: (member) => <span title={moment(member.created_at)}>{date(member.created_at)}</span>, by: (member) => member.created_at, wide: true },
                  { title: "Role", cell: (member) => <RoleOf member={member} changed={members.reload} /> },
                  { title: "Actions", cell: (member) => {
                    const account = member.signs_in && accounts.answer?.data.accounts.find((one) => one.email === member.name);
                    return (
                      <span class="row">
                        <Do tone="danger" confirm={`Remove ${member.name}? They are signed out at once.`} act={async () => {
                          await settle(api.DELETE("/api/v1/admin/projects/{project}/members/{name}", { params: { path: { ...path, name: member.id } } }));
                          members.reload();
                        }}>Remove</Do>
                        {account && <Erase account={account} done={(of) => { gone(of); members.reload(); invited.reload(); accounts.reload(); }} />}
                      </span>
                    );
                  } },
                ]}
              />
            )}
          </Shown>
          {!operates && <p class="soft small-text">Removing ends what somebody may do here. Who asks to be forgotten is erased by whoever runs this meter.</p>}
        </Card>
        <Card title="Open invitations">
          <Shown of={invited} lines={2}>
            {(data) => (
              <Table
                caption="Open invitations"
                find="invitation"
                rows={data.invitations}
                name={(invitation) => invitation.id}
                empty={<Empty title="None." />}
                columns={[
                  { title: "E-mail", cell: (invitation) => foreign(invitation.email) },
                  { title: "Role", cell: (invitation) => words(invitation.role) },
                  { title: "Until", cell: (invitation) => moment(invitation.expires_at), wide: true },
                  { title: "Actions", cell: (invitation) => <Do tone="danger" act={async () => { await settle(api.DELETE("/api/v1/admin/projects/{project}/invitations/{name}", { params: { path: { ...path, name: invitation.id } } })); invited.reload(); }}>Take back</Do> },
                ]}
              />
            )}
          </Shown>
        </Card>
      </When>
    </Page>
  );
}

function RoleOf({ member, changed }: { member: Member; changed: () => void }) {
  const [problem, tell] = useState("");
  const change = async (role: string): Promise<void> => {
    tell("");
    try {
      await settle(api.PATCH("/api/v1/admin/projects/{project}/members/{name}", { params: { path: { project: project.value, name: member.id } }, body: { role: role as Role } }));
    } catch (error) {
      tell(error instanceof Error ? error.message : "It was not changed.");
    }
    changed();
  };
  return (
    <>
      <select aria-label={`Role of ${member.name}`} value={member.role} onChange={(event) => void change(event.currentTarget.value)}>
        {ROLES.map(([role]) => <option key={role} value={role}>{words(role)}</option>)}
      </select>
      {problem && <div class="refused" role="alert">{problem}</div>}
    </>
  );
}
