use std::collections::BTreeMap;
use trimloop_train::forest::*;
struct R(u64);
impl R{fn n(&mut self)->u64{self.0=self.0.wrapping_add(0x9E3779B97F4A7C15);let mut z=self.0;z=(z^(z>>30)).wrapping_mul(0xBF58476D1CE4E5B9);z=(z^(z>>27)).wrapping_mul(0x94D049BB133111EB);z^(z>>31)}}
fn folds(y:&[u16],k:usize,seed:u64)->Vec<usize>{let mut r=R(seed);let mut f=vec![0;y.len()];let mut by:BTreeMap<u16,Vec<usize>>=BTreeMap::new();for(i,c)in y.iter().enumerate(){by.entry(*c).or_default().push(i)}
 let mut o=0;for v in by.values_mut(){for i in (1..v.len()).rev(){let j=(r.n()%(i as u64+1)) as usize;v.swap(i,j)} for i in v.iter(){f[*i]=o%k;o+=1}} f}
fn main(){
 let a:Vec<String>=std::env::args().collect();
 let text=std::fs::read_to_string(&a[1]).unwrap();let mut lines=text.lines();let head:Vec<&str>=lines.next().unwrap().split(',').collect();let q=head.len()-1;
 let mut columns=vec![vec![];q];let mut y=vec![];
 for l in lines{let v:Vec<f64>=l.split(',').map(|x|x.parse().unwrap()).collect();for(c,x)in columns.iter_mut().zip(&v){c.push(*x as f32)}y.push(v[q] as u16)}
 let classes=*y.iter().max().unwrap() as usize+1;
 let data=Labelled{columns,labels:y.clone(),classes};
 let reps:u64=a[2].parse().unwrap();let trees=a[3].parse().unwrap();let cols:f64=a[4].parse().unwrap();let leaf=a[5].parse().unwrap();let random=a[6]=="et";let pos:usize=a[7].parse().unwrap();
 let t=std::time::Instant::now();let mut res=vec![];
 for s in 0..reps{let f=folds(&y,5,s);let mut p=vec![vec![];y.len()];
  for k in 0..5{let tr:Vec<u32>=(0..y.len()).filter(|i|f[*i]!=k).map(|i|i as u32).collect();let te:Vec<u32>=(0..y.len()).filter(|i|f[*i]==k).map(|i|i as u32).collect();
   let g=Growth{trees,columns:cols,leaf,depth:64,random,seed:s+1};
   let base:usize=a.get(8).map_or(0,|x|x.parse().unwrap());let mut all=experiment(&data,&vec![1.0;classes],&g,&tr,&te);
   if base>0{let d2=Labelled{columns:data.columns[..base].to_vec(),labels:y.clone(),classes};let w:f64=a[9].parse().unwrap();
    for(m,(x,c2))in [(false,0.0)].iter().enumerate(){let g=Growth{random:*x,columns:*c2,seed:s+100+m as u64,..g.clone()};for(p,q)in all.iter_mut().zip(experiment(&d2,&vec![1.0;classes],&g,&tr,&te)){for(p,q)in p.iter_mut().zip(q){*p+=w*q}}}}
   for(i,pr)in te.iter().zip(all){p[*i as usize]=pr}}
  let best=|p:&Vec<f64>|{let mut b=0;for i in 0..p.len(){if p[i]>p[b]{b=i}}b};
  let acc=p.iter().zip(&y).filter(|(p,y)|best(p)==**y as usize).count() as f64/y.len() as f64;
  let tp=p.iter().zip(&y).filter(|(p,y)|best(p)==pos&&**y as usize==pos).count() as f64;
  let pp=p.iter().filter(|p|best(p)==pos).count() as f64;let np=y.iter().filter(|y|**y as usize==pos).count() as f64;
  let mut row=vec![acc,tp/pp,tp/np,2.*tp/(pp+np)];
  for th in [0.3,0.35,0.4,0.45,0.5,0.55,0.6]{let tp=p.iter().zip(&y).filter(|(p,y)|p[pos]>th&&**y as usize==pos).count() as f64;let pp=p.iter().filter(|p|p[pos]>th).count() as f64;row.push(2.*tp/(pp+np))}
  res.push(row)}
 let m:Vec<String>=(0..res[0].len()).map(|j|format!("{:.4}",res.iter().map(|r|r[j]).sum::<f64>()/res.len() as f64)).collect();
 println!("{} {:?} acc/prec/rec/f1 | f1@.3.. {} [{:.1}s]",a[1],&a[2..],m.join(" "),t.elapsed().as_secs_f64());
}
