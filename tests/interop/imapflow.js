// imapflow.js PORT CA - a session of imapflow, each step checked; the last line is "done"
'use strict';
const assert = require('assert');
const fs = require('fs');
const { ImapFlow } = require('imapflow');

const [port, ca] = process.argv.slice(2);
const make = more => new ImapFlow({
	host: 'localhost', port: Number(port), secure: true, tls: { ca: fs.readFileSync(ca) },
	auth: { user: 'joe', pass: 'secret' }, logger: false, qresync: true, ...more,
});
const step = text => console.log(text);
const until = async (what, check) => {
	for (let n = 0; n < 300 && !check(); n++)
		await new Promise(go => setTimeout(go, 50));
	assert(check(), what);
};

async function main() {
	const c = make();
	await c.connect();
	step('connected, enabled: ' + [...c.enabled].join(' '));
	assert(c.enabled.has('QRESYNC') && c.enabled.has('CONDSTORE'));

	await c.mailboxCreate('Work/2026');
	await c.mailboxCreate('Trash');
	const list = await c.list({ statusQuery: { messages: true, unseen: true, uidNext: true } });
	const inbox = list.find(b => b.path === 'INBOX');
	assert.strictEqual(inbox.status.messages, 20);
	assert.strictEqual(inbox.status.unseen, 20);
	assert(list.some(b => b.path === 'Work/2026' && b.delimiter === '/'));
	step('list with status');

	const quota = await c.getQuota('INBOX');
	assert(quota.storage.limit === 10 * 1024 * 1024 && quota.storage.usage > 0, JSON.stringify(quota));
	step('quota');

	const box = await c.mailboxOpen('INBOX');
	assert.strictEqual(box.exists, 20);
	assert(box.highestModseq > 0n && box.permanentFlags.has('\\*'));
	const kept = { since: box.highestModseq, validity: box.uidValidity };

	const messages = [];
	for await (const m of c.fetch('1:*', { uid: true, flags: true, envelope: true, bodyStructure: true,
		size: true, internalDate: true, threadId: true, headers: ['message-id'] }))
		messages.push(m);
	assert.strictEqual(messages.length, 20);
	assert.strictEqual(messages[3].envelope.subject, 'message 3');
	assert.strictEqual(messages[3].envelope.from[0].address, 'ann@example.org');
	assert.strictEqual(messages[3].bodyStructure.type, 'text/plain');
	assert.strictEqual(new Set(messages.map(m => m.emailId)).size, 20);
	step('fetch');

	const one = await c.download(String(messages[5].uid), undefined, { uid: true });
	let text = '';
	for await (const piece of one.content)
		text += piece;
	assert.strictEqual(text.length, messages[5].size);
	const body = await c.download('6', '1');
	text = '';
	for await (const piece of body.content)
		text += piece;
	assert(text.startsWith('line 5 of the text'), text.slice(0, 80));
	step('download');

	assert.deepStrictEqual(await c.search({ subject: 'message 19' }), [20]);
	assert.deepStrictEqual(await c.search({ before: new Date('2020-01-01'), not: { seen: true } }), []);
	assert.deepStrictEqual(await c.search({ or: [{ seen: true }, { header: { 'message-id': 'message-7@' } }] },
		{ uid: true }), [messages[7].uid]);
	step('search');

	await c.messageFlagsAdd('2:4', ['\\Seen', '$Forwarded']);
	await c.messageFlagsSet({ uid: '5' }, ['\\Flagged'], { uid: true });
	await c.messageFlagsRemove('3', ['\\Seen'], { unchangedSince: 1000000n });
	const flags = await c.fetchOne('3', { flags: true });
	assert(flags.flags.has('$Forwarded') && !flags.flags.has('\\Seen'));
	step('flags');

	const moved = await c.messageMove('1:2', 'Work/2026');
	assert.deepStrictEqual([...moved.uidMap], [[1, 1], [2, 2]]);
	const copied = await c.messageCopy('1', 'Work/2026');
	assert.deepStrictEqual([...copied.uidMap], [[3, 3]]);
	await c.messageDelete('18');
	assert.strictEqual(c.mailbox.exists, 17);
	step('move, copy, delete');

	const added = await c.append('Work/2026', 'Subject: new\r\n\r\nnew\r\n', ['\\Draft'], new Date(0));
	assert.strictEqual(added.uid, 4);
	assert.strictEqual((await c.status('Work/2026', { messages: true, size: true })).messages, 4);
	step('append, status');

	// The other session hears of it while it idles.
	const events = [];
	c.on('exists', e => events.push('exists ' + e.count));
	c.on('expunge', e => events.push('expunge ' + (e.uid || e.seq)));
	c.on('flags', e => events.push('flags ' + e.seq + [...e.flags].sort().join()));
	const idle = c.idle();
	const other = make({ compress: false });
	await other.connect();
	await other.mailboxOpen('INBOX');
	await other.append('INBOX', 'Subject: while idle\r\n\r\nx\r\n');
	await until('idle: EXISTS', () => events.includes('exists 18'));
	await other.messageFlagsAdd('1', ['\\Answered']);
	await until('idle: flags', () => events.some(e => e.startsWith('flags 1')));
	await other.messageDelete('7', { uid: true });
	await until('idle: VANISHED', () => events.includes('expunge 7'));
	step('idle: ' + events.join(', '));
	await other.logout();
	c.noop();
	await idle;
	await c.logout();

	// Back with what was known.
	const vanished = [], changed = [];
	const back = make();
	back.on('expunge', e => vanished.push(e.uid));
	back.on('flags', e => changed.push(e.uid));
	await back.connect();
	await back.mailboxOpen('INBOX', { changedSince: kept.since, uidValidity: kept.validity });
	const all = [];
	for await (const m of back.fetch('1:*', { uid: true, flags: true }, { changedSince: kept.since }))
		all.push(m.uid);
	assert.deepStrictEqual(vanished, [1, 2, 7, 20]);
	assert.deepStrictEqual(all, [3, 4, 5, 21]);
	step('resync: vanished ' + vanished + ', changed ' + changed);
	await back.mailboxDelete('Trash');
	await back.logout();
	console.log('done');
}

main().catch(error => {
	console.error(error);
	process.exit(1);
});
