// The commands of `leveret`: which there are, their flags (all from the table of settings), and what people are told when they
// mistype. Knows no broker: a command is imported when it is called, so that `--help` and mistakes cost nothing.
// Invariant: a mistake of a person is one line on standard error and exit code 2 (a flag, a setting) or 1 (the machine).

import { Command, CommanderError, Option } from 'commander';
import { flagOf, SETTING_KEYS, type SettingKey, SettingsError, settingOf } from '../config/config.ts';
import { nearest } from '../config/nearest.ts';
import { type ResolvedSettings, resolveSettings, unknownFlag } from '../config/sources.ts';
import { PROGRAM, VERSION } from '../config/version.ts';
import type { Terminal } from './terminal.ts';

/** Exit codes. */
export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

const COMMANDS = ['start', 'config', 'help'] as const;

/** Commands by name, each imported at its first use; tests put their own in. */
export interface CommandBodies {
  start(settings: ResolvedSettings, terminal: Terminal): Promise<number>;
  config(settings: ResolvedSettings, terminal: Terminal, json: boolean): Promise<number>;
}

const bodies: CommandBodies = {
  start: async (settings, terminal) => (await import('./start.ts')).start(settings, terminal),
  config: async (settings, terminal, json) =>
    (await import('./show-config.ts')).showConfig(settings, terminal, json),
};

/** Runs one command line (without the names of Node and script) to its end. Fulfilled with the exit code; never rejected. */
export async function run(
  args: readonly string[],
  terminal: Terminal,
  commands: CommandBodies = bodies,
): Promise<number> {
  let exitCode = EXIT_OK;
  const program = new Command(PROGRAM);
  prepare(program, terminal)
    .description('An AMQP 0-9-1 message broker: every RabbitMQ client works, a confirm means on disk.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText(
      'after',
      `\n${PROGRAM} start --help lists every setting. Settings also come from LEVERET_… variables and --config FILE.`,
    );

  const start = withSettings(program.command('start'), terminal)
    .description('run a broker in the foreground')
    .action(async (options: Options) => {
      exitCode = await commands.start(resolve(options, terminal), terminal);
    });
  const config = withSettings(program.command('config'), terminal)
    .description('print the settings that start would use, and where each comes from')
    .option('--json', 'print JSON')
    .action(async (options: Options) => {
      const { json, ...rest } = options;
      exitCode = await commands.config(resolve(rest, terminal), terminal, json === true);
    });
  for (const command of [start, config]) command.helpOption('-h, --help', 'print this help');

  if (args.length === 0) {
    program.outputHelp();
    return EXIT_OK;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT_OK;
    if (error instanceof CommanderError || error instanceof SettingsError) {
      terminal.stderr.write(
        `${PROGRAM}: ${error instanceof CommanderError ? mistake(error, args) : error.message}\n`,
      );
      return EXIT_USAGE;
    }
    terminal.stderr.write(
      `${PROGRAM}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return EXIT_FAILED;
  }
}

type Options = Readonly<Record<string, string | boolean | undefined>>;

/** Our streams, and errors thrown instead of a process that ends. */
function prepare(command: Command, terminal: Terminal): Command {
  return command
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({ writeOut: (text) => terminal.stdout.write(text), writeErr: () => {} });
}

function withSettings(command: Command, terminal: Terminal): Command {
  prepare(command, terminal).addOption(
    new Option('--config <file>', 'JSON file with settings (or LEVERET_CONFIG)').helpGroup('Basics:'),
  );
  for (const key of SETTING_KEYS) {
    const { kind, help, group, default: value, defaultText, unit, secret } = settingOf(key);
    const flag = flagOf(key);
    const shown = secret
      ? ''
      : ` [${defaultText ?? kind.show(value)}${unit === null || value === null ? '' : ` ${unit}`}]`;
    const text = `${help}${shown}`;
    if (kind.isSwitch) {
      command.addOption(new Option(flag, text).helpGroup(`${group}:`));
      command.addOption(new Option(switchedOff(key)).hideHelp());
    } else {
      command.addOption(new Option(`${flag} <value>`, text).helpGroup(`${group}:`));
    }
  }
  return command;
}

function resolve(options: Options, terminal: Terminal): ResolvedSettings {
  const { config, ...flags } = options;
  return resolveSettings({
    flags,
    environment: terminal.environment,
    configFile: typeof config === 'string' ? config : null,
  });
}

/** The flag that switches a setting off. */
function switchedOff(key: SettingKey): string {
  return `--no-${flagOf(key).slice(2)}`;
}

/** What went wrong on the command line, in one line that says what was probably meant. */
function mistake(error: CommanderError, args: readonly string[]): string {
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? '';
  switch (error.code) {
    case 'commander.unknownOption': {
      const flag = quoted.replace(/=.*$/s, '');
      const key = SETTING_KEYS.find(
        (candidate) => flag === flagOf(candidate) || flag === switchedOff(candidate),
      );
      if (key !== undefined && settingOf(key).kind.isSwitch && quoted !== flag)
        return `${flag} takes no value: say ${flagOf(key)} or ${switchedOff(key)}`;
      if (key !== undefined) return `${flag} belongs behind a command: ${PROGRAM} start ${args.join(' ')}`;
      return unknownFlag(flag).message;
    }
    case 'commander.unknownCommand': {
      const guess = nearest(quoted, COMMANDS);
      return `unknown command ${quoted}: ${guess === null ? `there are ${COMMANDS.join(', ')}` : `did you mean ${guess}?`}`;
    }
    case 'commander.optionMissingArgument': {
      const flag = quoted.replace(/ .*$/s, '');
      const key = SETTING_KEYS.find((candidate) => flagOf(candidate) === flag);
      return `${flag} needs a value${key === undefined ? '' : `: ${settingOf(key).kind.expects}`}`;
    }
    default:
      return error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  }
}
