// connection.update-secret: a new secret for a connection that lives on.
import { expectHardError } from '../../support/checks.ts';
import { parseUrl } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('1.11.update-secret', 'a good secret is accepted and work goes on', async (target) => {
  const client = await target.openWithChannel();
  const newSecret = Buffer.from(parseUrl(target.url).password);
  await client.call(0, 'connection.update-secret', { newSecret, reason: 'rotation' });
  await client.call(0, 'connection.update-secret', { newSecret, reason: '' });
  await client.expectQuiet(1);
});

rule(
  '1.11.refused',
  'a secret that would not log in ends the connection',
  async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(0, 'connection.update-secret', { newSecret: Buffer.from('wrong'), reason: 'rotation' });
    await expectHardError(client, { code: 530, text: 'New secret was refused by one of the backends' });
  },
  {
    onRabbitMQ: async (target) => {
      const client = await target.openWithChannel();
      await client.call(0, 'connection.update-secret', {
        newSecret: Buffer.from('wrong'),
        reason: 'rotation',
      });
    },
  },
);
