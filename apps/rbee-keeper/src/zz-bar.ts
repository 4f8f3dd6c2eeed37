import { Output } from '/work/main/apps/rbee-keeper/src/output.ts';
import { ProgressDisplay } from '/work/main/apps/rbee-keeper/src/progress/progress-display.ts';
const env: any = { stdout: process.stdout, stderr: process.stderr, variables: process.env };
const o = new Output(env, { json:false, verbose:false, noColor:false });
const d = new ProgressDisplay(o, { monotonic: () => performance.now() } as any);
o.say('rbee-hive','starting a worker');
for (let i=0;i<=100;i+=2){ d.update({type:'progress',phase:'download',bytes_downloaded:i*40e6,bytes_total:4e9,speed_mbps:450,eta_seconds:(100-i)*0.7} as any); await new Promise(r=>setTimeout(r,40)); }
o.say('model-provisioner','downloaded');
for (let i=0;i<=32;i+=1){ d.update({type:'progress',phase:'load',layers_loaded:i,layers_total:32} as any); await new Promise(r=>setTimeout(r,60)); }
o.text('Once upon'); o.text(' a time.\n'); o.separate(); o.say('inference-backend','done');
