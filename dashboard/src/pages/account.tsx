// One's own account: which projects, until when one is signed in, and the password.
import { useState } from "preact/hooks";
import { api, settle } from "../api";
import { foreign, moment, words } from "../format";
import { choose, session, signOut, take } from "../session";
import { go } from "../router";
import { Card, Do, Empty, Field, Form, Notice, Page } from "../ui/parts";

export function Account() {
  const me = session.value;
  const [done, set] = useState(false);
  if (!me) return null;
  const change = async ({ current, password = "" }: Record<string, string>, form: HTMLFormElement): Promise<void> => {
    const { data } = await settle(api.POST("/api/v1/session/password", { body: { password, ...(current ? { current } : {}) } }));
    take(data);
    form.reset();
    set(true);
  };
  return (
    <Page title="Account" about={foreign(me.email)} actions={<Do act={signOut}>Sign out</Do>}>
      <div class="grid">
        <div class="half">
          <Card title="You">
            <dl class="facts">
              <dt>Name</dt><dd>{foreign(me.name)}</dd>
              <dt>E-mail</dt><dd>{foreign(me.email)}</dd>
              <dt>Signed in</dt><dd>{moment(me.signed_in_at)}</dd>
              <dt>Ends</dt><dd>{moment(me.expires_at)}, or an hour after your last call</dd>
              {me.operator && <><dt>Operator</dt><dd>everything, in every project</dd></>}
            </dl>
          </Card>
        </div>
        <div class="half">
          <Card title={me.has_password ? "Change password" : "Set a password"}>
            {done && <Notice tone="good">Your password is set. All your other sessions have ended.</Notice>}
            <Form submit={me.has_password ? "Change" : "Set"} act={change}>
              <input class="unseen" type="text" name="username" autocomplete="username" value={me.email} readOnly tabIndex={-1} aria-hidden="true" />
              {me.has_password && <Field label="Present password" hint="may be left out if a link signed you in"><input name="current" type="password" autocomplete="current-password" /></Field>}
              <Field label="New password" hint="12 characters or more"><input name="password" type="password" autocomplete="new-password" required minLength={12} maxLength={200} /></Field>
            </Form>
          </Card>
        </div>
        <Card title="Your projects">
          {me.memberships.length === 0 ? <Empty title="None." /> : (
            <ul class="stack">
              {me.memberships.map((membership) => (
                <li key={membership.member} class="row between">
                  <span><strong>{membership.project}</strong> <span class="soft">{words(membership.role)}</span></span>
                  <button type="button" class="small" onClick={() => { choose(membership.project); go("/"); }}>Look at it</button>
                </li>
              ))}
            </ul>
          )}
        </Card>
      </div>
    </Page>
  );
}
